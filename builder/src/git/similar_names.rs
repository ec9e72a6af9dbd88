//! Names that are similar to a misspelled one.

/// Names that an error proposes.
const MAX_SIMILAR_NAMES: usize = 5;
/// Edits between two names that count as similar.
const MAX_EDITS: usize = 3;

/// The few names most similar to this one, the most similar first.
pub(super) fn similar_names(name: &str, names: impl Iterator<Item = String>) -> Vec<String> {
    let wanted = name.to_lowercase();
    let mut scored: Vec<(usize, String)> = names
        .filter_map(|other| {
            let lower = other.to_lowercase();
            let is_part = wanted.len() >= 3 && (lower.contains(&wanted) || wanted.contains(&lower));
            let distance = if is_part { 1 } else { edit_distance(&wanted, &lower)? };
            Some((distance, other))
        })
        .collect();
    scored.sort();
    scored.dedup();
    scored.into_iter().map(|(_, name)| name).take(MAX_SIMILAR_NAMES).collect()
}

/// The Levenshtein distance in characters; `None` if it is more than [`MAX_EDITS`].
fn edit_distance(a: &str, b: &str) -> Option<usize> {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len().abs_diff(b.len()) > MAX_EDITS {
        return None;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row.last().copied().filter(|&distance| distance <= MAX_EDITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proposes_the_nearest_names_first() {
        let names = ["version-15", "version-14", "develop", "version-15-hotfix", "main"];
        let similar = |name| similar_names(name, names.iter().map(|name| (*name).to_owned()));
        assert_eq!(similar("version-51"), ["version-14", "version-15"]);
        assert_eq!(similar("develop-2"), ["develop"]);
        assert!(similar("unrelated").is_empty());
    }
}
