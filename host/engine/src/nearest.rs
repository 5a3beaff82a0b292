//! The nearest known word to one that is not known: for "did you mean". Optimal string alignment distance, small words only.

/// The known word that is nearest to `word`, if one is near enough to have been meant.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).max(1);
    let scored = known.into_iter().map(|candidate| (score(word, candidate), candidate));
    scored.filter(|(score, _)| *score <= limit).min_by_key(|(score, _)| *score).map(|(_, candidate)| candidate)
}

/// A word that only lacks its end, or has one more, is as near as a letter.
fn score(a: &str, b: &str) -> usize {
    let begun = a.len().min(b.len()) >= 3 && (a.starts_with(b) || b.starts_with(a));
    if begun { distance(a, b).min(1) } else { distance(a, b) }
}

fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().take(64).collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    rows[0] = (0..=b.len()).collect();
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let changed = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = changed.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = least;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_slip_of_the_finger_is_recognised_and_another_word_is_not() {
        let known = ["mail-hot", "mail-cold", "confirm"];
        assert_eq!(nearest("mail-hto", known), Some("mail-hot"));
        assert_eq!(nearest("mail-colt", known), Some("mail-cold"));
        assert_eq!(nearest("conf", known), Some("confirm"));
        assert_eq!(nearest("dovecot", known), None);
    }
}
