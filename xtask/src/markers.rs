//! Parts of a page that a program writes: the lines between `<!-- NAME:begin -->` and
//! `<!-- NAME:end -->`, each alone on its line. All else on the page is a writer's.

use anyhow::{Context, Result, bail};

/// The part of that name, without its markers.
pub(crate) fn part<'a>(page: &'a str, name: &str) -> Result<&'a str> {
    Ok(split(page, name)?.1)
}

/// The page with `text` as the part of that name; `text` ends with a line end.
pub(crate) fn replace(page: &str, name: &str, text: &str) -> Result<String> {
    let (before, _, after) = split(page, name)?;
    Ok(format!("{before}{text}{after}"))
}

/// Names of the parts of a page, in order.
pub(crate) fn names(page: &str) -> Vec<&str> {
    page.lines()
        .filter_map(|line| {
            line.strip_prefix("<!-- ")?
                .strip_suffix(":begin -->")
                .filter(|name| !name.contains(' '))
        })
        .collect()
}

/// What stands before the part (its first marker included), the part, and the rest.
fn split<'a>(page: &'a str, name: &str) -> Result<(&'a str, &'a str, &'a str)> {
    let (begin, end) = (
        format!("<!-- {name}:begin -->\n"),
        format!("<!-- {name}:end -->\n"),
    );
    for marker in [&begin, &end] {
        if page.matches(marker.as_str()).count() > 1 {
            bail!("the line {} is there twice", marker.trim_end());
        }
    }
    let missing = || {
        format!(
            "the markers are missing: add the lines {} and {} where the table belongs",
            begin.trim_end(),
            end.trim_end()
        )
    };
    let from = page.find(&begin).with_context(missing)? + begin.len();
    let len = page[from..].find(&end).with_context(missing)?;
    let (before, rest) = page.split_at(from);
    let (part, after) = rest.split_at(len);
    Ok((before, part, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "a\n<!-- x:begin -->\nold\n<!-- x:end -->\nb\n<!-- generated:y:begin -->\n<!-- generated:y:end -->\n";

    #[test]
    fn only_the_part_between_the_markers_changes() {
        let once = replace(PAGE, "x", "new\nlines\n").unwrap();
        assert_eq!(once, PAGE.replace("old\n", "new\nlines\n"));
        assert_eq!(replace(&once, "x", "new\nlines\n").unwrap(), once);
        assert_eq!(part(&once, "x").unwrap(), "new\nlines\n");
        let empty = replace(&once, "generated:y", "z\n").unwrap();
        assert_eq!(part(&empty, "generated:y").unwrap(), "z\n");
        assert_eq!(part(&empty, "x").unwrap(), "new\nlines\n");
        assert_eq!(names(PAGE), ["x", "generated:y"]);
    }

    #[test]
    fn missing_reversed_and_doubled_markers_are_refused() {
        for broken in [
            "",
            "<!-- x:begin -->\n",
            "<!-- x:end -->\n",
            "<!-- x:end -->\n<!-- x:begin -->\n",
            "<!-- x:begin -->\n<!-- x:end -->\n<!-- x:begin -->\n<!-- x:end -->\n",
            "<!-- x:begin --><!-- x:end -->",
            "<!-- xx:begin -->\n<!-- xx:end -->\n",
        ] {
            assert!(replace(broken, "x", "new\n").is_err(), "{broken}");
            assert!(part(broken, "x").is_err(), "{broken}");
        }
    }
}
