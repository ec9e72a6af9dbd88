//! Layers that exceed the limits.

use carafe_layers::digest::Digest;
use carafe_layers::oci::media_type;
use carafe_layers::unpack::UnpackLimits;
use tar::EntryType;

use crate::unpack_support::{Memory, Tar, gzip};
use crate::{assert_rejected, rejected_within};

#[test]
fn rejects_too_deep_and_too_long_paths() {
    assert_rejected(
        &[Tar::new().file(&vec!["d"; 256].join("/"), "")],
        "the limit of 255 directories in one path is exceeded",
    );
    assert_rejected(
        &[Tar::new().file(&"d/".repeat(2100), "")],
        "the limit of 4095 bytes in one path is exceeded",
    );
    assert_rejected(&[Tar::new().file(&"d".repeat(256), "")], "failed to create the file");
}

#[test]
fn rejects_images_over_each_limit() {
    let layer = Tar::new().file("a", "12345").file("directory/b", "67890");
    let image = Memory::of(&[layer]);
    let limit = |limits: UnpackLimits| rejected_within(&image, &limits);
    let all = UnpackLimits::default();
    let message = limit(UnpackLimits { file_bytes: 4, ..all.clone() });
    assert!(message.contains("at `a`: the limit of 4 bytes in one file is exceeded"), "{message}");
    let message = limit(UnpackLimits { entries: 1, ..all.clone() });
    assert!(message.contains("at `directory/b`: the limit of 1 entries is exceeded"), "{message}");
    // The implicit directory is counted.
    let message = limit(UnpackLimits { entries: 2, ..all.clone() });
    assert!(message.contains("the limit of 2 entries is exceeded"), "{message}");
    let message = limit(UnpackLimits { bytes: 1000, ..all.clone() });
    assert!(message.contains("the limit of 1000 unpacked bytes is exceeded"), "{message}");
    let message = limit(UnpackLimits { all_path_bytes: 8, ..all.clone() });
    assert!(message.contains("the limit of 8 bytes of all paths is exceeded"), "{message}");
    let message = limit(UnpackLimits { layers: 0, ..all });
    assert!(message.contains("layers"), "{message}");
}

#[test]
fn counts_the_bytes_of_all_layers() {
    let image = Memory::of(&[Tar::new().file("a", ""), Tar::new().file("b", "")]);
    let message = rejected_within(&image, &UnpackLimits { bytes: 1536 * 2 - 1, ..UnpackLimits::default() });
    assert!(message.contains("unpacked bytes"), "{message}");
}

#[test]
fn rejects_an_archive_bomb() {
    let tar = Tar::new().file("zeros", &"\0".repeat(4 << 20)).bytes();
    let diff_id = Digest::of(&tar);
    let image = Memory::stored(vec![(media_type::LAYER_GZIP, gzip(&tar), diff_id)]);
    let limits = UnpackLimits { ratio_floor: 1 << 20, ..UnpackLimits::default() };
    let message = rejected_within(&image, &limits);
    assert!(
        message.contains("at `zeros`: the limit of 200 for the compression ratio is exceeded"),
        "{message}"
    );
}

#[test]
fn rejects_long_extensions() {
    let name = vec![b'n'; 2 << 20];
    for kind in [EntryType::GNULongName, EntryType::GNULongLink, EntryType::XHeader] {
        let layer = Tar::new().extension(kind, &name).file("a", "");
        assert_rejected(&[layer], "2097152 bytes exceed the limit of 1048576");
    }
}
