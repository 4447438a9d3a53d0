//! Two sets of rounds: the relative difference and how well it is known.
//!
//! Rounds are independent runs, so their values, not the samples inside them, carry the uncertainty.
//! The difference is of mean logarithms (a ratio), with Welch's interval for unequal variances.

use serde::Serialize;

#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Difference {
    /// Change from the first to the second, in percent.
    pub percent: f64,
    /// 95 % confidence interval.
    pub low: f64,
    pub high: f64,
    /// The smallest change these rounds would have shown four times out of five.
    pub detectable: f64,
}

/// `None` with fewer than two rounds on a side, or values that have no logarithm.
pub fn difference(before: &[f64], after: &[f64]) -> Option<Difference> {
    if before.len() < 2 || after.len() < 2 || before.iter().chain(after).any(|&value| value <= 0.0) {
        return None;
    }
    let (mean_before, error_before) = mean_and_error(before);
    let (mean_after, error_after) = mean_and_error(after);
    let variance = error_before + error_after;
    let freedom = if variance == 0.0 {
        (before.len() + after.len() - 2) as f64
    } else {
        let part = |error: f64, count: usize| error * error / (count - 1) as f64;
        variance * variance / (part(error_before, before.len()) + part(error_after, after.len()))
    };
    let (change, error) = (mean_after - mean_before, variance.sqrt());
    let wide = student(freedom, 0.975) * error;
    let percent = |logarithm: f64| (logarithm.exp() - 1.0) * 100.0;
    Some(Difference {
        percent: percent(change),
        low: percent(change - wide),
        high: percent(change + wide),
        detectable: percent((student(freedom, 0.975) + student(freedom, 0.8)) * error),
    })
}

pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len().checked_sub(1)? / 2;
    let upper = sorted.len() / 2;
    Some((sorted[middle] + sorted[upper]) / 2.0)
}

/// Mean of the logarithms and its squared standard error.
fn mean_and_error(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let logarithms: Vec<f64> = values.iter().map(|value| value.ln()).collect();
    let mean = logarithms.iter().sum::<f64>() / count;
    let squares: f64 = logarithms.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, squares / (count - 1.0) / count)
}

/// Student's t quantile by bisection of its distribution function, which is integrated numerically:
/// exact enough for any degree of freedom, and called a few times a comparison.
fn student(freedom: f64, probability: f64) -> f64 {
    let freedom = freedom.max(1.0);
    let (mut low, mut high) = (0.0, 1000.0);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if student_below(freedom, middle) < probability {
            low = middle;
        } else {
            high = middle;
        }
    }
    (low + high) / 2.0
}

/// P(T < t) for t >= 0. With t = √ν·tan θ the density becomes a power of a cosine.
fn student_below(freedom: f64, t: f64) -> f64 {
    let end = (t / freedom.sqrt()).atan();
    let density = |angle: f64| angle.cos().powf(freedom - 1.0);
    0.5 + 0.5 * simpson(density, end) / simpson(density, std::f64::consts::FRAC_PI_2 - 1e-9)
}

fn simpson(function: impl Fn(f64) -> f64, end: f64) -> f64 {
    const STEPS: u32 = 400;
    let step = end / f64::from(STEPS);
    let inner: f64 = (1..STEPS)
        .map(|place| function(f64::from(place) * step) * if place % 2 == 0 { 2.0 } else { 4.0 })
        .sum();
    (function(0.0) + inner + function(end)) * step / 3.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn student_quantiles_agree_with_the_tables() {
        for (freedom, probability, expected) in [
            (1.0, 0.975, 12.706),
            (2.0, 0.975, 4.303),
            (4.0, 0.975, 2.776),
            (10.0, 0.975, 2.228),
            (30.0, 0.8, 0.854),
        ] {
            let found = student(freedom, probability);
            assert!((found - expected).abs() < 0.01 * expected, "t({freedom}, {probability}) = {found}");
        }
    }

    #[test]
    fn a_real_shift_is_found_and_noise_is_not() {
        let base = [100.0, 102.0, 99.0, 101.0];
        let shifted = base.map(|value| value * 1.2);
        let found = difference(&base, &shifted).expect("enough rounds");
        assert!(found.low < 20.0 && 20.0 < found.high && found.low > 0.0, "{found:?}");
        assert!(found.detectable < 5.0, "{found:?}");
        let noise = difference(&base, &[101.0, 99.0, 102.0, 100.0]).expect("enough rounds");
        assert!(noise.low < 0.0 && noise.high > 0.0, "{noise:?}");
    }

    #[test]
    fn one_round_says_nothing() {
        assert_eq!(difference(&[1.0], &[2.0, 2.0]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[]), None);
    }
}
