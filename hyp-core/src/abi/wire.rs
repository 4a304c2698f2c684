//! Little-endian reading and writing of the binary formats.

use super::manifest::BadField;

/// Takes fields off the front of untrusted bytes.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes }
    }

    pub(super) fn bytes<const N: usize>(
        &mut self,
        field: &'static str,
    ) -> Result<[u8; N], BadField> {
        let (bytes, rest) = self
            .rest
            .split_first_chunk()
            .ok_or(BadField::new(field, "the bytes end before it"))?;
        self.rest = rest;
        Ok(*bytes)
    }

    pub(super) fn u32(&mut self, field: &'static str) -> Result<u32, BadField> {
        self.bytes(field).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, field: &'static str) -> Result<u64, BadField> {
        self.bytes(field).map(u64::from_le_bytes)
    }
}

/// Appends fields to a buffer that the caller has sized for all of them.
pub(super) struct Writer<'a> {
    to: &'a mut [u8],
    at: usize,
}

impl<'a> Writer<'a> {
    pub(super) const fn new(to: &'a mut [u8]) -> Self {
        Writer { to, at: 0 }
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.to[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.bytes(&value.to_le_bytes());
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.bytes(&value.to_le_bytes());
    }

    pub(super) const fn written(&self) -> usize {
        self.at
    }
}
