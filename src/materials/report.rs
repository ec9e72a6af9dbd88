//! The materials of a bundle as a table.

use carafe_builder::spec::format_bytes;

use super::list::Materials;
use super::material::{Kind, Material};

/// Stands for an unknown value.
const UNKNOWN: &str = "-";

/// One line for each material except metadata, in columns. Every line ends with a line feed.
pub fn table(materials: &Materials) -> String {
    let heading = ["kind", "name", "version", "license", "size", "sha256", "source"].map(str::to_owned);
    let listed = materials.materials.iter().filter(|material| material.kind != Kind::Metadata);
    let rows: Vec<[String; 7]> = std::iter::once(heading).chain(listed.map(row)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 7] = std::array::from_fn(width);
    let line = |row: &[String; 7]| {
        let cells: Vec<String> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

/// The number and size of the metadata responses, which the table leaves out.
pub fn summary(materials: &Materials) -> String {
    let metadata = materials.materials.iter().filter(|material| material.kind == Kind::Metadata);
    let bytes = metadata.clone().filter_map(|material| material.size).fold(0, u64::saturating_add);
    let count = metadata.count();
    let plural = if count == 1 { "" } else { "s" };
    format!("and {count} metadata response{plural} (indexes, redirects), {}", format_bytes(bytes))
}

fn row(material: &Material) -> [String; 7] {
    let known = |text: Option<&String>| text.cloned().unwrap_or(UNKNOWN.to_owned());
    let commit = material.commit.as_ref().map(|commit| commit.as_str()[..12].to_owned());
    [
        material.kind.name().to_owned(),
        material.name.clone(),
        known(material.version.as_ref().or(commit.as_ref())),
        known(material.license.as_ref()),
        material.size.map_or(UNKNOWN.to_owned(), format_bytes),
        material.digest.map_or(UNKNOWN.to_owned(), |digest| digest.hex()),
        material.source.clone(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use carafe_layers::digest::Digest;

    #[test]
    fn aligns_columns_and_counts_metadata() {
        let material = |kind, name: &str, license: Option<&str>| Material {
            kind,
            name: name.to_owned(),
            version: Some("1.0".to_owned()),
            source: format!("https://example.com/{name}"),
            commit: None,
            digest: Some(Digest::of(b"")),
            size: Some(1234),
            license: license.map(str::to_owned),
        };
        let mut materials =
            Materials::of(Digest::of(b"lock"), None, vec![material(Kind::Node, "a", Some("MIT"))]);
        materials.materials.push(material(Kind::Metadata, "index", None));
        materials.materials.push(material(Kind::Python, "longer", None));
        insta::assert_snapshot!(table(&materials), @"
        kind    name    version  license  size    sha256                                                            source
        node    a       1.0      MIT      1.2 kB  e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  https://example.com/a
        python  longer  1.0      -        1.2 kB  e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  https://example.com/longer
        ");
        assert_eq!(summary(&materials), "and 1 metadata response (indexes, redirects), 1.2 kB");
    }
}
