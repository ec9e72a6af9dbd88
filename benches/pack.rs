//! Measures packing: a canonical tar archive with its digest, gzip on one and two threads compared
//! with flate2's own stream at the same level, and a complete layer. `cargo bench --bench pack`.

use std::fs;
use std::hint::black_box;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::path::Path;

use carafe_layers::digest::Hashing;
use carafe_layers::format::{FormatVersion, GZIP_LEVEL};
use carafe_layers::gzip::ParallelGzip;
use carafe_layers::layout::LayoutWriter;
use carafe_layers::mtime::MtimePolicy;
use carafe_layers::pack::{PackOptions, pack};
use carafe_layers::path::ImagePath;
use carafe_layers::plan::{Group, plan};
use carafe_layers::tar_writer::TarWriter;
use carafe_layers::tree::{Owner, SourceMapping};
use carafe_layers::walk::walk;
use divan::Bencher;
use divan::counter::BytesCount;
use flate2::Compression;
use flate2::write::GzEncoder;

/// The total size needs many gzip blocks, and fits in the page cache.
const FILES: usize = 4_000;
const FILE_BYTES: usize = 8 << 10;

fn main() {
    divan::main();
}

/// Text that compresses like source code: words from a small list, with numbers between them.
fn source_code(length: usize, seed: u64) -> Vec<u8> {
    const WORDS: [&str; 12] = [
        "def ",
        "return ",
        "self.",
        "frappe.",
        "(doc)\n",
        "if not ",
        "for row in ",
        "import ",
        "\"name\"",
        ": {\n    ",
        "])\n",
        "get_value",
    ];
    let mut state = seed;
    let mut text = Vec::with_capacity(length + 32);
    while text.len() < length {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        text.extend_from_slice(WORDS[(state >> 40) as usize % WORDS.len()].as_bytes());
        if state >> 61 == 0 {
            text.extend_from_slice(format!("{:x}", state >> 36).as_bytes());
        }
    }
    text.truncate(length);
    text
}

/// Writes a tree below `root`, and plans it as one layer.
fn layer(root: &Path) -> Group {
    for file in 0..FILES {
        let directory = root.join(format!("module_{:03}", file / 40));
        fs::create_dir_all(&directory).expect("the temporary directory is writable");
        fs::write(directory.join(format!("file_{file}.py")), source_code(FILE_BYTES, file as u64))
            .expect("the temporary directory is writable");
    }
    let owner = Owner { uid: 1000, gid: 1000 };
    let mapping = SourceMapping { host: root.to_owned(), image: ImagePath::root(), owner };
    let mtimes = MtimePolicy { default: 0, rules: Vec::new() };
    let entries = walk(&[mapping], &mtimes).expect("the tree is readable");
    plan(&entries, &[], NonZeroUsize::MIN).remove(0)
}

/// A tar archive and its SHA-256 digest, from memory: the cost of a byte before compression.
#[divan::bench]
fn tar_and_sha256(bencher: Bencher) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let group = layer(dir.path());
    let content = source_code(FILE_BYTES, 1);
    bencher.counter(BytesCount::new(FILES * FILE_BYTES)).bench(|| {
        let mut tar = TarWriter::new(Hashing::new(io::sink()));
        for entry in &group.entries {
            tar.entry(entry).expect("a sink accepts everything");
            tar.content(&content[..entry.size() as usize]).expect("a sink accepts everything");
        }
        tar.finish().expect("a sink accepts everything").finish().1
    });
}

#[divan::bench(args = [1, 2])]
fn parallel_gzip(bencher: Bencher, threads: usize) {
    let data = source_code(FILES * FILE_BYTES, 1);
    let threads = NonZeroUsize::new(threads).expect("not zero");
    bencher.counter(BytesCount::of_slice(data.as_slice())).bench(|| {
        let mut gzip = ParallelGzip::new(io::sink(), threads).expect("threads can be started");
        gzip.write_all(black_box(&data)).expect("a sink accepts everything");
        gzip.finish().expect("a sink accepts everything")
    });
}

#[divan::bench]
fn flate2_gzip(bencher: Bencher) {
    let data = source_code(FILES * FILE_BYTES, 1);
    bencher.counter(BytesCount::of_slice(data.as_slice())).bench(|| {
        let mut gzip = GzEncoder::new(io::sink(), Compression::new(GZIP_LEVEL));
        gzip.write_all(black_box(&data)).expect("a sink accepts everything");
        gzip.finish().expect("a sink accepts everything")
    });
}

/// A complete layer: from files on disk (in the page cache) to a synced blob in a layout.
#[divan::bench(args = [1, 2])]
fn pack_a_layer(bencher: Bencher, threads: usize) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let group = layer(dir.path());
    let out = tempfile::tempdir().expect("a temporary directory");
    let layout = LayoutWriter::create(out.path().join("image")).expect("a new layout");
    let options = PackOptions {
        format: FormatVersion::CURRENT,
        threads: NonZeroUsize::new(threads).expect("not zero"),
        progress: &|_| {},
        secrets: &[],
    };
    bencher
        .counter(BytesCount::new(FILES * FILE_BYTES))
        .bench(|| pack(&group, &layout, &options).expect("the layer can be packed"));
}
