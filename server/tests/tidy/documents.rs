//! Paths and links in documents and comments: what they name must exist.

use std::path::Path;

pub const OUR_DOT_FOLDERS: &[&str] = &[".ci", ".cargo"];

/// What a path from the root begins with.
const TOP_FOLDERS: &[&str] = &["server", "protocol", "loadgen", "sysctl", "benches", "docs", ".ci", ".cargo"];

/// Every path and link in `text` that leads nowhere, with its line.
pub fn broken(root: &Path, name: &str, text: &str) -> Vec<String> {
    let is_markdown = name.ends_with(".md");
    let mut found = Vec::new();
    for (place, line) in text.lines().enumerate() {
        let prose = match (is_markdown, line.find("//")) {
            (true, _) => line,
            (false, Some(start)) => &line[start..],
            (false, None) if name.ends_with(".toml") => line.find('#').map_or("", |start| &line[start..]),
            (false, None) => "",
        };
        let missing = paths(prose).filter(|path| !exists(root, path)).map(|path| path.to_owned());
        let dead = links(line).filter(|_| is_markdown).filter(|link| !leads(root, name, text, link));
        for what in missing.chain(dead.map(str::to_owned)) {
            found.push(format!("{name}:{}: {what} does not exist", place + 1));
        }
    }
    found
}

/// Words that are paths from the root of the repository.
fn paths(prose: &str) -> impl Iterator<Item = &str> {
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || "._-/*{}".contains(letter);
    prose.split(move |letter| !is_letter(letter)).filter_map(|word| {
        let word = word.trim_end_matches('.').trim_start_matches("./");
        let (first, rest) = word.split_once('/')?;
        let is_pattern = rest.contains(['*', '{', '}']);
        (TOP_FOLDERS.contains(&first) && !rest.is_empty() && !is_pattern).then_some(word)
    })
}

/// A decision may be named by its number alone, a program by the end of a path to its target folder.
fn exists(root: &Path, path: &str) -> bool {
    if root.join(path).exists() {
        return true;
    }
    let Some(number) = path.strip_prefix("docs/decisions/") else { return false };
    let Ok(decisions) = root.join("docs/decisions").read_dir() else { return false };
    number.len() == 4
        && decisions.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with(number))
}

/// Targets of `[text](target)` that are no web addresses.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split(')').next()).filter(|target| {
        let is_web = target.contains("://") || target.starts_with("mailto:");
        !target.is_empty() && !is_web && !target.contains([' ', '`'])
    })
}

/// Whether a link from the file `name` finds its file, and its heading there.
fn leads(root: &Path, name: &str, text: &str, link: &str) -> bool {
    let (file, heading) = link.split_once('#').map_or((link, None), |(file, heading)| (file, Some(heading)));
    let folder = Path::new(name).parent().unwrap_or(Path::new(""));
    let path = root.join(folder).join(file);
    match heading {
        _ if !file.is_empty() && !path.exists() => false,
        None => true,
        Some(heading) if file.is_empty() => headings(text).any(|known| known == heading),
        Some(heading) => {
            std::fs::read_to_string(path).is_ok_and(|target| headings(&target).any(|known| known == heading))
        }
    }
}

/// Headings as GitHub names them.
fn headings(text: &str) -> impl Iterator<Item = String> {
    text.lines().filter(|line| line.starts_with('#')).map(|line| {
        let kept = |letter: &char| letter.is_alphanumeric() || " -_".contains(*letter);
        let heading = line.trim_start_matches('#').trim().to_lowercase();
        heading.chars().filter(kept).map(|letter| if letter == ' ' { '-' } else { letter }).collect()
    })
}

#[test]
fn broken_paths_and_links_are_found() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace");
    let good = "See `server/src/lib.rs`, [here](../README.md), docs/TUNING.md, [a](#b-c).\n# B c\n";
    assert_eq!(broken(root, "docs/TESTING.md", good), [""; 0]);
    let bad = "`server/src/nothing.rs`, [gone](gone.md) and [a](#b-d)\n# B c\n";
    assert_eq!(broken(root, "docs/TESTING.md", bad).len(), 3);
}
