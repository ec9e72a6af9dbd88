//! More than a layer may have.

use carafe_layers::digest::Digest;
use carafe_layers::oci::media_type;
use carafe_layers::unpack::UnpackLimits;
use tar::EntryType;

use crate::unpack_support::{Memory, Tar, gzip};
use crate::{assert_refused, refused_within};

#[test]
fn too_deep_and_too_long_is_refused() {
    assert_refused(&[Tar::new().file(&vec!["d"; 256].join("/"), "")], "over the limit of 255");
    assert_refused(&[Tar::new().file(&"d/".repeat(2100), "")], "bytes in one path over the limit of 4095");
    assert_refused(&[Tar::new().file(&"d".repeat(256), "")], "could not create the file");
}

#[test]
fn limits_are_kept() {
    let layer = Tar::new().file("a", "12345").file("folder/b", "67890");
    let image = Memory::of(&[layer]);
    let limit = |limits: UnpackLimits| refused_within(&image, &limits);
    let all = UnpackLimits::default();
    let words = limit(UnpackLimits { file_bytes: 4, ..all.clone() });
    assert!(words.contains("at `a`: bytes in one file over the limit of 4"), "{words}");
    let words = limit(UnpackLimits { entries: 1, ..all.clone() });
    assert!(words.contains("at `folder/b`: entries over the limit of 1"), "{words}");
    // The folder that had to be made counts.
    let words = limit(UnpackLimits { entries: 2, ..all.clone() });
    assert!(words.contains("entries over the limit of 2"), "{words}");
    let words = limit(UnpackLimits { bytes: 1000, ..all.clone() });
    assert!(words.contains("unpacked bytes over the limit of 1000"), "{words}");
    let words = limit(UnpackLimits { all_path_bytes: 8, ..all.clone() });
    assert!(words.contains("bytes of all paths over the limit of 8"), "{words}");
    let words = limit(UnpackLimits { layers: 0, ..all });
    assert!(words.contains("layers"), "{words}");
}

#[test]
fn bytes_are_counted_over_all_layers() {
    let image = Memory::of(&[Tar::new().file("a", ""), Tar::new().file("b", "")]);
    let words = refused_within(&image, &UnpackLimits { bytes: 1536 * 2 - 1, ..UnpackLimits::default() });
    assert!(words.contains("unpacked bytes"), "{words}");
}

#[test]
fn a_bomb_is_refused() {
    let tar = Tar::new().file("zeros", &"\0".repeat(4 << 20)).bytes();
    let diff_id = Digest::of(&tar);
    let image = Memory::stored(vec![(media_type::LAYER_GZIP, gzip(&tar), diff_id)]);
    let limits = UnpackLimits { ratio_floor: 1 << 20, ..UnpackLimits::default() };
    let words = refused_within(&image, &limits);
    assert!(words.contains("at `zeros`: compression ratio over the limit of 200"), "{words}");
}

#[test]
fn extensions_without_end_are_refused() {
    let name = vec![b'n'; 2 << 20];
    for kind in [EntryType::GNULongName, EntryType::GNULongLink, EntryType::XHeader] {
        let layer = Tar::new().extension(kind, &name).file("a", "");
        assert_refused(&[layer], "2097152 bytes are over the limit of 1048576");
    }
}
