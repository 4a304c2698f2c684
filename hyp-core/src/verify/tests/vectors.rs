//! Digests of known messages, and of every length around a block's and a page's bounds.

use super::*;
use crate::verify::digest::Hash;
use sha2::{Digest as _, Sha256, Sha512};

fn hash(algorithm: Digest, message: &[u8]) -> Digest {
    let page = PAGE_SIZE as usize;
    let mut bytes = message.to_vec();
    bytes.resize(message.len() / page * page + page, 0xee);
    let ram = Ram(RefCell::new(bytes));
    let mut hash = Hash::start(&algorithm);
    let whole = (message.len() / page) as u64;
    for frame in 0..whole {
        hash.page(&ram, Pfn(frame));
    }
    hash.finish(&ram, Pfn(whole), message.len() % page, message.len() as u64)
}

fn hex(digest: Digest) -> std::string::String {
    let bytes = match &digest {
        Digest::Sha256(bytes) => &bytes[..],
        Digest::Sha512(bytes) => &bytes[..],
    };
    bytes.iter().map(|b| std::format!("{b:02x}")).collect()
}

const EITHER: [Digest; 2] = [Digest::Sha256([0; 32]), Digest::Sha512([0; 64])];

/// FIPS 180-4's examples: the empty message, "abc", and two blocks.
#[test]
fn published_examples() {
    let two_blocks = b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    let examples: [(&[u8], &str, &str); 3] = [
        (
            b"",
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce\
             47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e",
        ),
        (
            b"abc",
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
             2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        ),
        (
            two_blocks,
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
            "204a8fc6dda82f0a0ced7beb8e08a41657c16ef468b228a8279be331a703c335\
             96fd15c13b1b07f9aa1d3bea57789ca031ad85c7a71dd70354ec631238ca3445",
        ),
    ];
    for (message, sha256, sha512) in examples {
        assert_eq!(EITHER.map(|d| hex(hash(d, message))), [sha256, sha512]);
    }
}

#[test]
fn every_length_agrees_with_the_one_shot_functions() {
    let around = |n: usize| n.saturating_sub(2)..n + 3;
    let lengths: Vec<usize> = if cfg!(miri) {
        std::vec![55, 56, 111, 112, 4096]
    } else {
        (0..400)
            .chain(around(4096))
            .chain(around(8192))
            .chain(8248..8256)
            .collect()
    };
    let bytes: Vec<u8> = (0..9000_u32).map(|i| ((i * 31) >> 3) as u8).collect();
    for length in lengths {
        let message = &bytes[..length];
        let expected = [
            Digest::Sha256(Sha256::digest(message).into()),
            Digest::Sha512(Sha512::digest(message).into()),
        ];
        assert_eq!(EITHER.map(|d| hash(d, message)), expected, "{length}");
    }
}
