//! The code in the documents of the project.

use std::{fs, path::Path};

/// The address of the bus in the documents.
pub const BUS: &str = "http://127.0.0.1:7733";

/// Returns the block of a document whose first line names a file, such as `// stream.js`.
///
/// # Panics
///
/// If the document does not have it.
pub fn block(document: &str, first: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(document);
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let (_, rest) =
        text.split_once(&format!("\n{first}\n")).unwrap_or_else(|| panic!("{document} does not show {first}"));
    let (block, _) = rest.split_once("\n```").expect("the block has an end");
    block.to_owned()
}
