//! Suggests a known word for a misspelt one.

/// Returns the most similar word, if at most two edits turn it into the text, or fewer for a short text.
pub(crate) fn nearest<'a>(text: &str, words: &[&'a str]) -> Option<&'a str> {
    let edits = |word: &&str| strsim::damerau_levenshtein(text, word);
    let nearest = words.iter().copied().min_by_key(edits)?;
    (edits(&nearest) <= (text.len() / 3).min(2)).then_some(nearest)
}
