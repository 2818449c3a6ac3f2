//! Files of tensors that were written wrongly, rather than damaged.

use std::ops::Range;

/// Where the digits of the checksum stand.
fn digits(contents: &[u8]) -> Option<Range<usize>> {
    const BEFORE: &[u8] = br#"\"crc32\":\""#;
    let start = contents.windows(BEFORE.len()).position(|bytes| bytes == BEFORE)? + BEFORE.len();
    (start + 8 <= contents.len()).then_some(start..start + 8)
}

/// The contents with a checksum that fits them, where there is a place for it.
pub fn sealed(mut contents: Vec<u8>) -> Vec<u8> {
    if let Some(digits) = digits(&contents) {
        let others = [&contents[..digits.start], &contents[digits.end..]].concat();
        contents[digits].copy_from_slice(format!("{:08x}", crc32fast::hash(&others)).as_bytes());
    }
    contents
}

/// The contents with `new` in place of each `old` in their header, and a checksum that fits.
pub fn rewritten(contents: &[u8], changes: &[(&str, &str)]) -> Vec<u8> {
    let length = u64::from_le_bytes(contents[..8].try_into().unwrap()) as usize;
    let (header, rest) = contents[8..].split_at(length);
    let mut header = String::from_utf8(header.to_vec()).unwrap();
    for (old, new) in changes {
        assert!(header.contains(old), "{old} in {header}");
        header = header.replace(old, new);
    }
    sealed([&(header.len() as u64).to_le_bytes(), header.as_bytes(), rest].concat())
}
