//! Lists of cores: `0,1`, `0-3`, `0-1,4`.

/// Parses a list; the order is kept, a core named twice is an error.
pub fn parse_cores(text: &str) -> Result<Vec<usize>, String> {
    let mut cores = Vec::new();
    for part in text.split(',').map(str::trim) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| {
            text.trim().parse::<usize>().map_err(|_| format!("'{part}' is not a core: write 0,1 or 0-3"))
        };
        let (first, last) = (number(first)?, number(last)?);
        if first > last || last - first >= 1024 {
            return Err(format!("'{part}' is not a range of cores: write it upwards, like 0-3"));
        }
        for core in first..=last {
            if cores.contains(&core) {
                return Err(format!("core {core} is named twice: one shard runs on a core"));
            }
            cores.push(core);
        }
    }
    Ok(cores)
}

#[cfg(test)]
mod tests {
    use super::parse_cores;

    #[test]
    fn lists_and_ranges_are_read_and_nonsense_is_named() {
        assert_eq!(parse_cores("0"), Ok(vec![0]));
        assert_eq!(parse_cores("3, 0-1"), Ok(vec![3, 0, 1]));
        for bad in ["", "a", "1-", "3-1", "0,0", "0-9999", "-1"] {
            assert!(parse_cores(bad).is_err(), "{bad}");
        }
    }
}
