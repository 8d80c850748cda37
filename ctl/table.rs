//! Tables and lines that fit the terminal.
//!
//! A table that is too wide loses the middle of long texts first, then whole columns, the least important ones first.
//! Widths are those of the terminal: a Chinese character or an emoji takes two columns.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Number of spaces between two columns.
const SPACING: usize = 2;
/// The column in which further lines begin on a narrow terminal.
pub(crate) const LEFT: usize = 2;
/// A text is not shortened below this width.
const SHORTEST: usize = 16;

/// A column of a table.
pub(crate) struct Column {
    title: &'static str,
    is_number: bool,
    /// Long texts may lose their middle.
    can_shrink: bool,
    /// Columns with a higher rank are dropped first; one with rank 0 is always shown.
    rank: u8,
}

/// A column of text.
pub(crate) const fn text(title: &'static str) -> Column {
    Column { title, is_number: false, can_shrink: false, rank: 0 }
}

/// A column of numbers.
pub(crate) const fn number(title: &'static str) -> Column {
    Column { title, is_number: true, can_shrink: false, rank: 0 }
}

impl Column {
    /// Makes long texts lose their middle if the table is too wide.
    pub(crate) const fn shrinking(self) -> Column {
        Column { can_shrink: true, ..self }
    }

    /// Drops the column if the table is too wide, before columns of a lower rank.
    pub(crate) const fn dropped(self, rank: u8) -> Column {
        Column { rank, ..self }
    }
}

/// Returns the lines of a table with a header, in at most `width` columns if possible.
pub(crate) fn render<const N: usize>(columns: &[Column; N], rows: &[[String; N]], width: Option<usize>) -> String {
    let mut natural = columns.each_ref().map(|column| column.title.width());
    for row in rows {
        for (width, cell) in natural.iter_mut().zip(row) {
            *width = (*width).max(cell.width());
        }
    }
    let widths = width.map_or(natural.map(Some), |width| fit(columns, natural, width));
    let mut lines = String::new();
    let titles = columns.each_ref().map(|column| column.title.to_owned());
    for row in std::iter::once(&titles).chain(rows) {
        let begin = lines.len();
        for ((column, width), cell) in columns.iter().zip(widths).zip(row) {
            let Some(width) = width else { continue };
            let cell = shortened(cell, width);
            let padding = " ".repeat(width.saturating_sub(cell.width()));
            if lines.len() > begin {
                lines.push_str(&" ".repeat(SPACING));
            }
            lines.extend(if column.is_number { [&*padding, &*cell] } else { [&*cell, &*padding] });
        }
        lines.truncate(begin + lines[begin..].trim_end().len());
        lines.push('\n');
    }
    lines
}

/// Returns the width of each column, or `None` for a column that is dropped.
fn fit<const N: usize>(columns: &[Column; N], natural: [usize; N], width: usize) -> [Option<usize>; N] {
    let mut widths = natural.map(Some);
    loop {
        let shown: Vec<usize> = (0..N).filter(|index| widths[*index].is_some()).collect();
        let total: usize = shown.iter().map(|index| natural[*index] + SPACING).sum();
        let excess = total.saturating_sub(SPACING + width);
        let shortest = |index: usize| natural[index].min(SHORTEST.max(columns[index].title.len()));
        let can_shrink = |index: &usize| columns[*index].can_shrink;
        let spare: usize = shown.iter().copied().filter(can_shrink).map(|index| natural[index] - shortest(index)).sum();
        let least =
            shown.iter().copied().filter(|index| columns[*index].rank > 0).max_by_key(|index| columns[*index].rank);
        match least {
            Some(least) if spare < excess => {
                widths[least] = None;
                continue;
            }
            _ => {}
        }
        // The widest columns first, so that short texts stay whole.
        for _ in 0..excess.min(spare) {
            let widest =
                shown.iter().copied().filter(can_shrink).filter(|index| widths[*index] > Some(shortest(*index)));
            let Some(widest) = widest.max_by_key(|index| widths[*index]) else { break };
            widths[widest] = widths[widest].map(|width| width - 1);
        }
        return widths;
    }
}

/// Returns true if a terminal has too few columns for a text that begins in column `indent`.
pub(crate) fn is_narrow(indent: usize, width: Option<usize>) -> bool {
    const LEAST: usize = 24;
    width.is_some_and(|width| width < indent + LEAST)
}

/// Returns a text that begins in column `indent`, wrapped between words into lines that fit the width and begin there. On a
/// narrow terminal the further lines begin at the left.
pub(crate) fn wrapped(text: &str, indent: usize, width: Option<usize>) -> String {
    let Some(width) = width else { return text.to_owned() };
    let left = if is_narrow(indent, Some(width)) { LEFT } else { indent };
    let (mut lines, mut used, mut is_first) = (String::new(), indent, true);
    for word in text.split(' ') {
        let takes = word.width();
        if used + usize::from(!is_first) + takes > width && (used > left || !is_first) {
            lines.truncate(lines.trim_end().len());
            lines.extend(["\n", &" ".repeat(left)]);
            used = left;
        } else if !is_first {
            lines.push(' ');
            used += 1;
        }
        is_first = false;
        lines.push_str(word);
        used += takes;
    }
    lines
}

/// Returns a text that takes at most `width` columns, with `…` in place of its middle if it is longer.
fn shortened(text: &str, width: usize) -> std::borrow::Cow<'_, str> {
    if text.width() <= width {
        return text.into();
    }
    let kept = width.saturating_sub(1);
    let end_of = |characters: &mut dyn Iterator<Item = char>, room: usize| {
        let mut used = 0;
        let fits = characters.take_while(|c| {
            used += c.width().unwrap_or(0);
            used <= room
        });
        fits.map(char::len_utf8).sum::<usize>()
    };
    let head = &text[..end_of(&mut text.chars(), kept.div_ceil(2))];
    let tail = &text[text.len() - end_of(&mut text.chars().rev(), kept / 2)..];
    format!("{head}…{tail}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 4] =
        [text("TOPIC").shrinking(), number("N"), text("RETAINED").dropped(2), text("LAST").dropped(1)];

    fn rendered(topic: &str, width: Option<usize>) -> String {
        render(&COLUMNS, &[[topic.into(), "12".into(), "no".into(), "now".into()]], width)
    }

    #[test]
    fn a_wide_table_loses_the_middle_of_texts_before_columns() {
        let topic = "build/products/web/deploy";
        let whole = "TOPIC                       N  RETAINED  LAST\nbuild/products/web/deploy  12  no        now\n";
        assert_eq!(rendered(topic, None), whole);
        assert_eq!(rendered(topic, Some(45)), whole);
        assert_eq!(
            rendered(topic, Some(40)),
            "TOPIC                  N  RETAINED  LAST\nbuild/prod…eb/deploy  12  no        now\n"
        );
        assert_eq!(rendered(topic, Some(26)), "TOPIC              N  LAST\nbuild/pr…/deploy  12  now\n");
        assert_eq!(rendered(topic, Some(20)), "TOPIC              N\nbuild/pr…/deploy  12\n");
        assert_eq!(rendered(topic, Some(1)), "TOPIC              N\nbuild/pr…/deploy  12\n", "it stays readable");
    }

    #[test]
    fn a_long_text_is_wrapped_between_words() {
        let text = "one two  three 建设项目 a-word-that-does-not-fit-into-a-line-of-forty-columns four five six seven";
        let lines = "one two  three 建设项目\n     a-word-that-does-not-fit-into-a-line-of-forty-columns\n     four five six seven";
        assert_eq!(wrapped(text, 5, Some(45)), lines);
        assert_eq!(wrapped(text, 5, None), text);
        // The state of a check takes the first 24 columns.
        assert_eq!(wrapped("one two three four five six", 24, Some(40)), "one two three\n  four five six");
        assert_eq!(wrapped("/a/path/that/is/long is wrong", 24, Some(40)), "\n  /a/path/that/is/long is wrong");
        assert_eq!(wrapped("a", 24, Some(0)), "\n  a");
    }

    #[test]
    fn wide_characters_take_two_columns() {
        assert_eq!(rendered("建设/网页", None), "TOPIC       N  RETAINED  LAST\n建设/网页  12  no        now\n");
        for width in 1..20 {
            let shown = shortened("建设项目/网页/éa", width);
            assert!(shown.width() <= width, "{width}: {shown}");
        }
        assert_eq!(shortened("建设项目/网页", 8), "建设…页");
    }
}
