//! Unified diffs, applied by their text alone: each hunk must be found once.

use std::collections::BTreeMap;
use std::path::Path;

/// What a hunk stands for, and what takes its place.
struct Hunk {
    file: String,
    before: String,
    after: String,
}

pub struct Patch(Vec<Hunk>);

/// Texts of files by their paths.
pub type Files = BTreeMap<String, String>;

impl Patch {
    pub fn parse(text: &str) -> Patch {
        let mut hunks: Vec<Hunk> = Vec::new();
        let mut file = String::new();
        for line in text.lines() {
            if let Some(path) = line.strip_prefix("+++ b/") {
                path.clone_into(&mut file);
            } else if line.starts_with("@@ ") {
                hunks.push(Hunk { file: file.clone(), before: String::new(), after: String::new() });
            } else if !line.starts_with("--- ") {
                let hunk = hunks.last_mut().expect("lines stand in hunks");
                let (mark, rest) = line.split_at_checked(1).unwrap_or((" ", ""));
                for (side, kept) in [(&mut hunk.before, mark != "+"), (&mut hunk.after, mark != "-")] {
                    if kept {
                        side.push_str(rest);
                        side.push('\n');
                    }
                }
            }
        }
        Patch(hunks)
    }

    /// The files of the tree as they are with the patch.
    pub fn applied_to(&self, root: &Path) -> Result<Files, String> {
        let mut files = Files::new();
        for hunk in &self.0 {
            if !files.contains_key(&hunk.file) {
                let text = std::fs::read_to_string(root.join(&hunk.file));
                files.insert(hunk.file.clone(), text.map_err(|error| format!("{}: {error}", hunk.file))?);
            }
            let text = files.get_mut(&hunk.file).expect("put there above");
            match text.matches(&hunk.before).count() {
                1 => *text = text.replacen(&hunk.before, &hunk.after, 1),
                count => {
                    return Err(format!("{} has {count} places like\n{}", hunk.file, hunk.before));
                }
            }
        }
        Ok(files)
    }
}

/// Writes files of a tree. Returns what they were.
pub fn write(root: &Path, files: &Files) -> Files {
    let mut before = Files::new();
    for (name, text) in files {
        let path = root.join(name);
        before.insert(name.clone(), std::fs::read_to_string(&path).expect("it was there"));
        std::fs::write(path, text).expect("a writable copy");
    }
    before
}

/// Copies a source tree without what is built and what is hidden.
pub fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a writable folder");
    for entry in std::fs::read_dir(from).expect("a readable folder") {
        let entry = entry.expect("a readable entry");
        let name = entry.file_name();
        let hidden = name.to_string_lossy().starts_with('.') && name != ".cargo";
        match entry.file_type().expect("a kind") {
            kind if kind.is_dir() && name != "target" && !hidden => {
                copy_tree(&entry.path(), &to.join(&name));
            }
            kind if kind.is_file() => {
                std::fs::copy(entry.path(), to.join(&name)).expect("it is copied");
            }
            _ => {}
        }
    }
}
