//! A document as a list of headings and fenced blocks.

use std::{fs, path::Path};

/// The root of the repository.
pub(crate) const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// One Markdown file.
pub(crate) struct Document {
    /// Its path from the root of the repository, with `/` between the parts.
    pub(crate) path: String,
    pub(crate) text: String,
    pub(crate) items: Vec<Item>,
}

pub(crate) enum Item {
    /// A heading below the title.
    Heading,
    Block(Block),
}

/// A fenced block.
pub(crate) struct Block {
    pub(crate) language: String,
    /// The line at which it begins.
    pub(crate) line: usize,
    pub(crate) text: String,
}

/// A command and its output.
pub(crate) struct Step {
    pub(crate) command: String,
    pub(crate) line: usize,
    pub(crate) shown: Vec<String>,
}

/// The README and all pages below `docs`, in the order of their paths.
pub(crate) fn all() -> Vec<Document> {
    let mut paths = vec!["README.md".to_owned()];
    add_pages("docs", &mut paths);
    paths.sort();
    paths.into_iter().map(Document::read).collect()
}

fn add_pages(folder: &str, paths: &mut Vec<String>) {
    for entry in fs::read_dir(Path::new(ROOT).join(folder)).expect("a folder of the repository") {
        let entry = entry.expect("a folder of the repository");
        let path = format!("{folder}/{}", entry.file_name().into_string().expect("a name in UTF-8"));
        if entry.file_type().expect("a file or a folder").is_dir() {
            add_pages(&path, paths);
        } else if Path::new(&path).extension().is_some_and(|extension| extension == "md") {
            paths.push(path);
        }
    }
}

impl Document {
    pub(crate) fn read(path: String) -> Document {
        let text = fs::read_to_string(Path::new(ROOT).join(&path)).unwrap_or_else(|e| panic!("{path}: {e}"));
        let mut items = Vec::new();
        let mut open: Option<Block> = None;
        for (index, line) in text.lines().enumerate() {
            match (&mut open, line.strip_prefix("```")) {
                (None, Some(language)) => {
                    assert!(!language.is_empty(), "{path}:{}: a block without a language", index + 1);
                    open = Some(Block { language: language.into(), line: index + 1, text: String::new() });
                }
                (Some(_), Some(_)) => items.extend(open.take().map(Item::Block)),
                (Some(block), None) => block.text.extend([line, "\n"]),
                (None, None) if line.starts_with("##") => items.push(Item::Heading),
                (None, None) => {}
            }
        }
        assert!(open.is_none(), "{path}: the last block has no end");
        Document { path, text, items }
    }

    pub(crate) fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.items.iter().filter_map(|item| if let Item::Block(block) = item { Some(block) } else { None })
    }

    /// The commands of all `sh` blocks.
    pub(crate) fn steps(&self) -> impl Iterator<Item = Step> {
        self.blocks().filter(|block| block.language == "sh").flat_map(Block::steps)
    }
}

impl Block {
    /// The name in the comment of the first line, which may be a path from the home directory.
    pub(crate) fn file_name(&self) -> Option<&str> {
        let first = self.text.lines().next()?;
        let name = ["# ", "// ", "<!-- "].iter().find_map(|comment| first.strip_prefix(comment))?;
        let name = name.trim_end_matches("-->").trim();
        (!name.is_empty() && !name.contains(' ')).then_some(name.trim_start_matches("~/"))
    }

    /// Returns true if the terminal is left open.
    pub(crate) fn stays_open(&self) -> bool {
        self.text.ends_with("\n^C\n")
    }

    /// The commands of a `sh` block.
    pub(crate) fn steps(&self) -> Vec<Step> {
        let mut steps: Vec<Step> = Vec::new();
        for (index, line) in self.text.trim_end_matches("^C\n").lines().enumerate() {
            match (line.strip_prefix("$ "), steps.last_mut()) {
                (Some(command), _) => {
                    let line = self.line + index + 1;
                    steps.push(Step { command: command.into(), line, shown: Vec::new() });
                }
                (None, Some(step)) => step.shown.push(line.into()),
                (None, None) => panic!("line {}: output before any command", self.line + index + 1),
            }
        }
        for step in &mut steps {
            while step.shown.last().is_some_and(String::is_empty) {
                step.shown.pop();
            }
        }
        steps
    }
}
