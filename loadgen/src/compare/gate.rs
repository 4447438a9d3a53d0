//! A metric that must not be significantly worse.

use super::comparison::{Comparison, Finding};
use std::io;
use std::process::ExitCode;

#[derive(Clone, Debug)]
pub struct Gate {
    pub metric: String,
    /// As much worse is let through.
    pub percent: f64,
}

impl Gate {
    /// Fails if any comparison is significantly worse by more than is let through, or cannot say.
    pub fn judge(&self, comparisons: &[Comparison]) -> io::Result<ExitCode> {
        let Gate { metric, percent } = self;
        for comparison in comparisons {
            let Some(row) = comparison.row(metric) else {
                return Err(io::Error::other(format!("--gate: there is no metric '{metric}'")));
            };
            let change = row.difference.map_or(0.0, |difference| difference.percent.abs());
            if row.finding == Finding::Worse && change > *percent {
                println!("gate: {metric} is worse by {change:.1} %, more than {percent:.1} %");
                return Ok(ExitCode::FAILURE);
            }
            if row.finding == Finding::Unknown {
                println!("gate: {metric} cannot be judged from these rounds");
                return Ok(ExitCode::FAILURE);
            }
        }
        println!("gate: {metric} holds");
        Ok(ExitCode::SUCCESS)
    }
}
