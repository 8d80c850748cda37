//! The README as a list of headings and fenced blocks.

/// The whole README.
pub(crate) struct Document {
    pub(crate) text: String,
    pub(crate) items: Vec<Item>,
}

pub(crate) enum Item {
    /// A `##` heading.
    Section(String),
    /// A heading of a lower level.
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

/// A `##` heading and the blocks below it.
pub(crate) struct Section<'a> {
    pub(crate) title: &'a str,
    pub(crate) items: &'a [Item],
}

/// A command and its output.
pub(crate) struct Step {
    pub(crate) command: String,
    pub(crate) line: usize,
    pub(crate) shown: Vec<String>,
}

pub(crate) fn read() -> Document {
    let text = include_str!("../../README.md").to_owned();
    let mut items = Vec::new();
    let mut open: Option<Block> = None;
    for (index, line) in text.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(language)) => {
                assert!(!language.is_empty(), "line {}: a block without a language", index + 1);
                open = Some(Block { language: language.into(), line: index + 1, text: String::new() });
            }
            (Some(_), Some(_)) => items.extend(open.take().map(Item::Block)),
            (Some(block), None) => block.text.extend([line, "\n"]),
            (None, None) if line.starts_with("## ") => items.push(Item::Section(line[3..].into())),
            (None, None) if line.starts_with("###") => items.push(Item::Heading),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "the last block has no end");
    Document { text, items }
}

impl Document {
    pub(crate) fn sections(&self) -> Vec<Section<'_>> {
        let is_new = |item: &Item| matches!(item, Item::Section(_));
        let mut sections = Vec::new();
        let mut rest = &self.items[..];
        while let Some(first) = rest.first() {
            let end = rest.iter().skip(1).position(is_new).map_or(rest.len(), |at| at + 1);
            let (items, after) = rest.split_at(end);
            let title = if let Item::Section(title) = first { title } else { "before the first heading" };
            sections.push(Section { title, items });
            rest = after;
        }
        sections
    }
}

impl Section<'_> {
    pub(crate) fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.items.iter().filter_map(|item| if let Item::Block(block) = item { Some(block) } else { None })
    }
}

impl Block {
    /// The name in the comment of the first line.
    pub(crate) fn file_name(&self) -> Option<&str> {
        let first = self.text.lines().next()?;
        let name = ["# ", "// ", "<!-- "].iter().find_map(|comment| first.strip_prefix(comment))?;
        let name = name.trim_end_matches("-->").trim();
        (!name.is_empty() && !name.contains([' ', '/'])).then_some(name)
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
