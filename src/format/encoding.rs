//! Converts text in other encodings to UTF-8 while it is read.
//!
//! No byte is replaced. A byte that is not valid text in the encoding becomes three bytes that are not valid UTF-8 (the
//! surrogate U+DC00 plus the byte). The record is then refused, and different files never give the same decoded bytes.

use encoding_rs::{Decoder, DecoderResult, Encoding};
use memchr::memchr;

/// More than the length of any malformed sequence plus the bytes read after it before it is known to be malformed.
const LONGEST: usize = 8;

/// The maximum number of bytes of text made at a time.
const PART: usize = 8 * 1024;

/// Converts the bytes of one file to UTF-8, in parts of any size.
pub struct Transcoder {
    decoder: Decoder,
    part: Vec<u8>,
    /// The last bytes of earlier parts. A malformed sequence may have begun in them.
    before: Vec<u8>,
}

impl Transcoder {
    /// Creates a transcoder that keeps a byte order mark as text, as in UTF-8 files.
    pub fn new(encoding: &'static Encoding) -> Self {
        let decoder = encoding.new_decoder_without_bom_handling();
        Self { decoder, part: vec![0; PART], before: Vec::new() }
    }

    /// Appends the text of these bytes. Keeps back an incomplete character at the end.
    pub fn push(&mut self, bytes: &[u8], into: &mut Vec<u8>) {
        let mut taken = 0;
        loop {
            let rest = bytes.get(taken..).unwrap_or_default();
            let (result, read, written) =
                self.decoder.decode_to_utf8_without_replacement(rest, &mut self.part, false);
            into.extend(self.part.iter().take(written));
            taken += read;
            match result {
                DecoderResult::InputEmpty => break,
                DecoderResult::OutputFull => {}
                DecoderResult::Malformed(len, behind) => {
                    let (len, behind) = (usize::from(len), usize::from(behind));
                    let seen = self.before.len() + taken - behind;
                    let all = self.before.iter().chain(bytes);
                    all.take(seen).skip(seen - len).for_each(|byte| escape(*byte, into));
                }
            }
        }
        self.before.extend_from_slice(bytes.get(bytes.len().saturating_sub(LONGEST)..).unwrap_or_default());
        self.before.drain(..self.before.len().saturating_sub(LONGEST));
    }

    /// Whether the text ends with a complete character. No bytes may be pushed after this call.
    pub fn is_whole(&mut self) -> bool {
        let (result, ..) = self.decoder.decode_to_utf8_without_replacement(&[], &mut self.part, true);
        result == DecoderResult::InputEmpty
    }
}

fn escape(byte: u8, into: &mut Vec<u8>) {
    into.extend_from_slice(&[0xed, 0xb0 | (byte >> 6), 0x80 | (byte & 0x3f)]);
}

/// Returns the original byte, if these bytes begin with an escaped one.
fn escaped(bytes: &[u8]) -> Option<u8> {
    match bytes {
        [0xed, high @ 0xb0..=0xb3, low @ 0x80..=0xbf, ..] => Some((high << 6) | (low & 0x3f)),
        _ => None,
    }
}

/// Returns the first byte that is not valid text, if there is one: its index in `bytes`, and its value in the file.
pub fn not_text(bytes: &[u8]) -> Option<(usize, u8)> {
    let valid = std::str::from_utf8(bytes).map_or_else(|error| error.valid_up_to(), str::len);
    let at = memchr(0, bytes).filter(|nul| *nul < valid).unwrap_or(valid);
    let found = bytes.get(at..)?;
    Some((at, escaped(found).or(found.first().copied())?))
}

#[cfg(test)]
mod tests {
    use encoding_rs::{GB18030, ISO_2022_JP, SHIFT_JIS, UTF_16LE, WINDOWS_1252};
    use proptest::prelude::*;

    use super::*;

    fn text(encoding: &'static Encoding, parts: &[&[u8]]) -> (Vec<u8>, bool) {
        let (mut transcoder, mut into) = (Transcoder::new(encoding), Vec::new());
        parts.iter().for_each(|part| transcoder.push(part, &mut into));
        (into, transcoder.is_whole())
    }

    #[test]
    fn text_becomes_utf8() {
        assert_eq!(text(WINDOWS_1252, &[b"caf\xe9 \x80"]), ("café €".into(), true));
        assert_eq!(text(UTF_16LE, &[b"\xff\xfea", b"\0", b"\n\0"]), ("\u{feff}a\n".into(), true));
        assert_eq!(text(SHIFT_JIS, &[b"\x93", b"\xfa"]), ("日".into(), true));
    }

    #[test]
    fn half_a_character_waits_for_the_rest() {
        assert_eq!(text(UTF_16LE, &[b"a\0b"]), (b"a".into(), false));
        assert_eq!(text(UTF_16LE, &[b"a\0\x3d\xd8"]), (b"a".into(), false));
        assert_eq!(text(SHIFT_JIS, &[b"a\x93"]), (b"a".into(), false));
    }

    #[test]
    fn bytes_that_are_not_text_are_kept_and_never_valid_utf8() {
        let (bytes, whole) = text(SHIFT_JIS, &[b"a\x81", b"\n\xffb"]);
        assert_eq!((bytes.as_slice(), whole), (&b"a\xed\xb2\x81\n\xed\xb3\xbfb"[..], true));
        assert_eq!((escaped(&bytes[1..]), escaped(&bytes[5..])), (Some(0x81), Some(0xff)));
        assert_eq!(std::str::from_utf8(&bytes).map_err(|error| error.valid_up_to()), Err(1));
        // Bytes that were read after a malformed byte before it was recognized are still text.
        assert_eq!(text(GB18030, &[b"\x81\x30\x81", b"\n"]).0, b"\xed\xb2\x810\xed\xb2\x81\n");
        assert_eq!(escaped("日".as_bytes()), None);
    }

    proptest! {
        #[test]
        fn parts_of_any_size_give_the_same_text(
            bytes in prop::collection::vec(prop::sample::select(b"ab\n\"\x81\x30\x93\xfa\x1b$B(\xd8\x3d\0\xff\xfe".to_vec()), 0..200),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
            encoding in prop::sample::select(vec![WINDOWS_1252, UTF_16LE, SHIFT_JIS, GB18030, ISO_2022_JP]),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let parts: Vec<&[u8]> = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();
            let at_once = text(encoding, &[&bytes]);
            prop_assert_eq!(&text(encoding, &parts), &at_once);
            let lossy = encoding.decode_without_bom_handling(&bytes).1;
            let refused = !at_once.1 || std::str::from_utf8(&at_once.0).is_err();
            prop_assert_eq!(refused, lossy, "what another decoder would replace is refused or waited for");
        }
    }
}
