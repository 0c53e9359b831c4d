//! Generates unusual files, made mostly of bytes that have a meaning to CSV, a decoder or a decompressor.

use std::io::Write as _;

use encoding_rs::{Encoding, GB18030, ISO_2022_JP, SHIFT_JIS, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};
use proptest::prelude::*;

use crate::domain::format::LineEnd;

/// A file, and how it is read.
#[derive(Clone, Debug)]
pub struct Input {
    /// The decompressed bytes, if the file is compressed and was not damaged.
    pub text: Option<Escaped>,
    pub file: Escaped,
    pub encoding: &'static Encoding,
    pub lines: LineEnd,
    pub footer: u64,
    pub limit: usize,
    pub window: usize,
    pub part: usize,
    pub resume: prop::sample::Index,
}

#[derive(Clone)]
pub struct Escaped(pub Vec<u8>);

impl std::fmt::Debug for Escaped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

/// Generates bytes that have a meaning to CSV, a decoder or a decompressor.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    const PIECES: [&[u8]; 27] = [
        b"1,a,b\n",
        b"2,\"x\ny\",\"q\"\"q\"\r\n",
        b"3,,\n",
        b"x,a,b\n",
        b"4,\xff,c\n",
        b"5,a\n",
        b"6,a,b,c\n",
        b"7,\"caf\xc3\xa9\n\",\xe6\x97\xa5\n",
        b"8,a\0,b\n",
        b"8,\"O\"Brien,\"A\"nn\n",
        b"8,5\" pipe,b\n",
        b"\"",
        b"\"\"",
        b",",
        b"\n",
        b"\r\n",
        b"\r",
        b"\0",
        b"\xef\xbb\xbf",
        b"\xff\xfe",
        b"\x1f\x8b\x08\0",
        b"\x28\xb5\x2f\xfd",
        b"\x1b$B",
        b"\x81\x30",
        b"\x1a",
        b"\n\n\r\n",
        b"9,aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa,b\n",
    ];
    let piece = prop_oneof![
        12 => prop::sample::select(&PIECES[..]).prop_map(<[u8]>::to_vec),
        2 => any::<u8>().prop_map(|byte| vec![byte]),
        // Longer than one read, or than a record may be.
        1 => (prop::sample::select(&b"a\"\n,\xff"[..]), 1usize..3000).prop_map(|(byte, times)| vec![byte; times]),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

fn headed() -> impl Strategy<Value = Vec<u8>> {
    let header = prop_oneof![
        20 => Just(&b"n,s,v\n"[..]),
        2 => Just(&b"\xef\xbb\xbfn,s,v\r\n"[..]),
        2 => Just(&b"\"v\",x,\"s\",n\n"[..]),
        1 => Just(&b""[..]),
    ];
    // Sometimes longer than the first 64 KiB.
    let times = prop_oneof![30 => Just(1usize), 1 => 20usize..100];
    (header, bytes(), times).prop_map(|(header, bytes, times)| [header, &bytes.repeat(times)].concat())
}

#[derive(Clone, Copy, Debug)]
enum Packing {
    Plain,
    Gzip,
    Zstd,
}

fn packed(packing: Packing, bytes: &[u8]) -> Vec<u8> {
    match packing {
        Packing::Plain => bytes.to_vec(),
        Packing::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        Packing::Zstd => zstd::encode_all(bytes, 1).unwrap(),
    }
}

/// Damage to a file after it was written.
#[derive(Clone, Debug)]
enum Damage {
    None,
    Cut(prop::sample::Index),
    Byte(prop::sample::Index, u8),
    Behind(Vec<u8>),
}

impl Damage {
    fn on(&self, file: &mut Vec<u8>) {
        match self {
            Self::None => {}
            Self::Cut(at) => file.truncate(at.index(file.len() + 1)),
            Self::Byte(at, byte) if !file.is_empty() => {
                let at = at.index(file.len());
                file[at] ^= byte;
            }
            Self::Byte(..) => {}
            Self::Behind(bytes) => file.extend_from_slice(bytes),
        }
    }
}

fn written(text: &[u8], encoding: &'static Encoding) -> Vec<u8> {
    let text = String::from_utf8_lossy(text);
    match encoding.name() {
        "UTF-16LE" => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        "UTF-16BE" => text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
        _ => encoding.encode(&text).0.into_owned(),
    }
}

/// Replaces the line feeds by the line ends of a format.
fn in_lines(lines: LineEnd, text: &[u8]) -> Vec<u8> {
    if lines == LineEnd::Any {
        return text.to_vec();
    }
    text.split(|byte| *byte == b'\n').collect::<Vec<_>>().join(lines.bytes())
}

pub fn input() -> impl Strategy<Value = Input> {
    let packing = prop::sample::select(vec![Packing::Plain, Packing::Plain, Packing::Gzip, Packing::Zstd]);
    let damage = prop_oneof![
        5 => Just(Damage::None),
        2 => any::<prop::sample::Index>().prop_map(Damage::Cut),
        2 => (any::<prop::sample::Index>(), 1u8..).prop_map(|(at, byte)| Damage::Byte(at, byte)),
        1 => bytes().prop_map(Damage::Behind),
    ];
    let others = vec![WINDOWS_1252, UTF_16LE, UTF_16BE, SHIFT_JIS, GB18030, ISO_2022_JP];
    let encoding = prop_oneof![3 => Just(UTF_8), 2 => prop::sample::select(others)];
    let limit = prop_oneof![1usize..60, Just(1000), Just(1 << 20)];
    let member = any::<prop::sample::Index>();
    let how = (limit, 1usize..6, prop_oneof![1usize..8, 8usize..5000], any::<prop::sample::Index>());
    let lines = prop_oneof![
        6 => Just(LineEnd::Any),
        4 => prop::sample::select(vec![LineEnd::Lf, LineEnd::CrLf, LineEnd::CrCrLf, LineEnd::Cr]),
    ];
    let ends = (lines, prop_oneof![3 => Just(0), 1 => 1u64..4]);
    (headed(), packing, damage, encoding, any::<bool>(), member, how, ends).prop_map(
        |(text, packing, damage, encoding, raw, member, (limit, window, part, resume), (lines, footer))| {
            let text = in_lines(lines, &text);
            let text = if raw || encoding == UTF_8 { text } else { written(&text, encoding) };
            let (one, other) = text.split_at(member.index(text.len() + 1));
            let mut file = [packed(packing, one), packed(packing, other)].concat();
            damage.on(&mut file);
            // Bytes that are not compressed may start like compressed ones.
            let is_whole = matches!(damage, Damage::None) && !matches!(packing, Packing::Plain);
            let text = is_whole.then_some(Escaped(text));
            Input { text, file: Escaped(file), encoding, lines, footer, limit, window, part, resume }
        },
    )
}
