//! The golden vectors: every frame of `golden_vectors.txt` by its name.

const TEXT: &str = include_str!("../golden_vectors.txt");

/// Name and bytes of every vector, in the order of the file.
pub fn all() -> Vec<(String, Vec<u8>)> {
    let lines = TEXT.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, hex) = line.split_once(" = ").expect("a vector is a name, ' = ' and hex digits");
            (name.to_owned(), from_hex(hex).expect("a vector is hex"))
        })
        .collect()
}

/// Bytes of hex digits, blanks between them ignored.
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .filter(|character| !character.is_whitespace())
        .map(|character| character.to_digit(16).map(|digit| digit as u8))
        .collect();
    let digits = digits?;
    let (pairs, rest) = digits.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}
