//! Decompresses a layer's blob, according to its media type.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use crate::oci::media_type;

/// Docker's layer: tar and zstd (containerd writes it; it is not specified).
const DOCKER_LAYER_ZSTD: &str = "application/vnd.docker.image.rootfs.diff.tar.zstd";

/// Maximum window of a zstd frame, as in the zstd command.
const MAX_ZSTD_WINDOW_BYTES: u64 = 128 << 20;

const BUFFER_BYTES: usize = 64 << 10;

/// The compression of a layer's tar.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    /// All supported layers, for messages.
    pub(crate) const SUPPORTED: &str = "tar, tar+gzip and tar+zstd";

    /// The compression of a layer's media type; `None` for unsupported media types.
    pub(crate) fn of(media_type: &str) -> Option<Self> {
        match media_type {
            media_type::LAYER_TAR | media_type::DOCKER_LAYER_TAR => Some(Self::None),
            media_type::LAYER_GZIP | media_type::DOCKER_LAYER_GZIP => Some(Self::Gzip),
            media_type::LAYER_ZSTD | DOCKER_LAYER_ZSTD => Some(Self::Zstd),
            _ => None,
        }
    }

    /// The compression that a blob's first bytes indicate, for blobs without a media type: those of an
    /// archive of `docker save`.
    pub(crate) fn detect(beginning: &[u8]) -> Self {
        match beginning {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            _ => Self::None,
        }
    }

    /// The OCI media type of a layer with this compression.
    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::None => media_type::LAYER_TAR,
            Self::Gzip => media_type::LAYER_GZIP,
            Self::Zstd => media_type::LAYER_ZSTD,
        }
    }

    /// Decompresses `blob` to its end, with all its gzip members or zstd frames. Other bytes after them
    /// are an error.
    pub(crate) fn reader<'a>(self, blob: impl Read + 'a) -> Box<dyn Read + 'a> {
        let blob = BufReader::with_capacity(BUFFER_BYTES, blob);
        match self {
            Self::None => Box::new(blob),
            Self::Gzip => Box::new(MultiGzDecoder::new(blob)),
            Self::Zstd => Box::new(ZstdFrames::new(blob)),
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "no compression",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        })
    }
}

/// All frames of a zstd stream, without skippable frames (zstd:chunked writes them).
struct ZstdFrames<R> {
    source: R,
    decoder: FrameDecoder,
}

impl<R: BufRead> ZstdFrames<R> {
    fn new(source: R) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(MAX_ZSTD_WINDOW_BYTES);
        Self { source, decoder }
    }

    /// Decodes until there are bytes to collect; false at the end of the stream.
    fn fill(&mut self) -> io::Result<bool> {
        while self.decoder.can_collect() == 0 {
            if !self.decoder.is_finished() {
                let one = BlockDecodingStrategy::UptoBlocks(1);
                self.decoder.decode_blocks(&mut self.source, one).map_err(io::Error::other)?;
            } else if self.source.fill_buf()?.is_empty() {
                return Ok(false);
            } else {
                self.begin_frame()?;
            }
        }
        Ok(true)
    }

    fn begin_frame(&mut self) -> io::Result<()> {
        match self.decoder.reset(&mut self.source) {
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                length, ..
            })) => {
                let length = u64::from(length);
                let skipped = io::copy(&mut self.source.by_ref().take(length), &mut io::sink())?;
                if skipped < length { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
            }
            outcome => outcome.map_err(io::Error::other),
        }
    }
}

impl<R: BufRead> Read for ZstdFrames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.fill()? { self.decoder.read(buffer) } else { Ok(0) }
    }
}
