//! Records as TensorFlow's programs write them: each with its length and a checksum of both.

/// A record's bytes in a file.
pub(crate) fn record(contents: &[u8]) -> Vec<u8> {
    let length = (contents.len() as u64).to_le_bytes();
    [&length, masked(&length).as_slice(), contents, &masked(contents)].concat()
}

/// The checksum as it stands in a file, so that one over a record that holds checksums is none of them.
fn masked(bytes: &[u8]) -> [u8; 4] {
    crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

/// Castagnoli's checksum, bit by bit: records are short.
fn crc32c(bytes: &[u8]) -> u32 {
    let shifted = |crc: u32| if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), |crc, _| shifted(crc)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3720, appendix B.4, and the checksum's usual check.
    #[test]
    fn checksums_are_castagnolis() {
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn records_say_their_length_twice_checked() {
        let record = record(b"ten bytes.");
        assert_eq!(record.len(), 8 + 4 + 10 + 4);
        assert_eq!(record[..8], 10_u64.to_le_bytes());
        assert_eq!(record[8..12], masked(&10_u64.to_le_bytes()));
        assert_eq!(&record[12..22], b"ten bytes.");
        assert_eq!(record[22..], masked(b"ten bytes."));
    }
}
