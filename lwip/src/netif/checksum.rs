//! The Internet checksum (RFC 1071).

/// Adds bytes to a sum of big-endian words that has not been folded. Only the last part of what is summed
/// may have an odd length.
pub(crate) fn add(sum: u64, bytes: &[u8]) -> u64 {
    let mut words = bytes.chunks_exact(4);
    // Four bytes at a time: the carries are folded in the end, and 64 bits hold those of any packet.
    let mut sum = sum;
    for word in &mut words {
        sum += u64::from(u32::from_be_bytes([word[0], word[1], word[2], word[3]]));
    }
    sum + match *words.remainder() {
        [] => 0,
        [a] => u64::from(u16::from_be_bytes([a, 0])),
        [a, b] => u64::from(u16::from_be_bytes([a, b])),
        [a, b, c, ..] => u64::from(u16::from_be_bytes([a, b])) + u64::from(u16::from_be_bytes([c, 0])),
    }
}

/// The sum in 16 bits; its complement is the checksum.
pub(crate) fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn is_the_sum_of_words(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut expected = 0u32;
            for pair in bytes.chunks(2) {
                expected += u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
                expected = (expected & 0xffff) + (expected >> 16);
            }
            prop_assert_eq!(u32::from(fold(add(0, &bytes))), expected);
        }
    }
}
