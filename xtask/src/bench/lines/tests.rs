use super::*;

fn count(source: &str) -> (u64, u64) {
    let count = Count::of(source);
    (count.lines, count.unsafe_blocks)
}

#[test]
fn comments_and_blank_lines_do_not_count() {
    assert_eq!(
        count("//! head\n\n/* a\n /* nested */ b */\nfn f() {} // tail\n/// doc\nfn g() {}\n"),
        (2, 0)
    );
}

#[test]
fn a_comment_inside_a_string_is_code_and_the_other_way_round() {
    assert_eq!(
        count(
            "let a = \"// no\";\nlet b = r#\"/* \" no\"#;\n// \"\nlet c = '\"'; // \"\nlet d: &'a str = x;\n"
        ),
        (4, 0)
    );
}

#[test]
fn the_lines_of_an_assembly_string_are_code() {
    assert_eq!(count("global_asm!(\"\nmov x0, x1\n\nret\n\");\n"), (4, 0));
}

#[test]
fn unsafe_blocks_are_counted_and_the_word_elsewhere_is_not() {
    let source = "#![deny(unsafe_op_in_unsafe_fn)]\n// unsafe {\nlet s = \"unsafe {\";\nunsafe fn f() { unsafe { g() } }\n\
        let x = unsafe\n{ h() };\nlet y = (unsafe { i() });\nlet z = not_unsafe { };\n";
    assert_eq!(count(source).1, 3);
    assert_eq!(count("unsafe extern \"C\" { fn a(); }").1, 1);
}

#[test]
fn test_modules_do_not_count() {
    assert_eq!(
        count("fn a() {}\n#[cfg(test)]\nmod tests {\n fn b() { unsafe { c() } }\n}\nfn d() {}\n"),
        (2, 0)
    );
    assert_eq!(
        count("fn a() {}\n#[cfg(test)]\nmod tests;\nfn d() {}\n"),
        (2, 0)
    );
}

#[test]
fn multi_byte_text_is_survived() {
    assert_eq!(
        count("let a = \"…é\"; // …\nlet b = '…';\n/* … */\n"),
        (2, 0)
    );
}
