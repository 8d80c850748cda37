//! Finds the known word that a misspelt one was meant to be.

/// Returns the nearest word, if it is at most two slips away, and one or none in a short word.
pub(crate) fn nearest<'a>(text: &str, words: &[&'a str]) -> Option<&'a str> {
    let slips = |word: &&str| strsim::damerau_levenshtein(text, word);
    let nearest = words.iter().copied().min_by_key(slips)?;
    (slips(&nearest) <= (text.len() / 3).min(2)).then_some(nearest)
}
