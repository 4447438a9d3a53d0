//! `sysctl/ringbolt-tune`, called so that the host is always put back.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The script: RINGBOLT_TUNE, or `sysctl/ringbolt-tune` in this folder or one above it.
pub fn find() -> Result<PathBuf, String> {
    if let Some(path) = std::env::var_os("RINGBOLT_TUNE") {
        return Ok(path.into());
    }
    let here = std::env::current_dir().map_err(|error| format!("no current folder: {error}"))?;
    here.ancestors()
        .map(|folder| folder.join("sysctl/ringbolt-tune"))
        .find(|path| path.exists())
        .ok_or_else(|| "sysctl/ringbolt-tune is not here: name it in RINGBOLT_TUNE".to_owned())
}

/// Whether this process may change kernel settings.
pub fn is_root() -> bool {
    // The owner of /proc/self is the effective user.
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

/// A profile in force; dropping it reverts.
#[derive(Debug)]
pub struct Applied {
    script: PathBuf,
}

impl Applied {
    pub fn new(script: &Path, profile: &str) -> Result<Applied, String> {
        // Made first: what a failed apply did change is reverted too.
        let applied = Applied { script: script.to_owned() };
        let output = Command::new(script)
            .args(["apply", profile])
            .output()
            .map_err(|error| format!("cannot run {}: {error}", script.display()))?;
        match output.status.code() {
            // 1: done, except for values this host refuses, which the script names.
            Some(0 | 1) => Ok(applied),
            _ => Err(format!(
                "ringbolt-tune apply {profile} failed: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            )),
        }
    }
}

impl Drop for Applied {
    fn drop(&mut self) {
        let reverted = Command::new(&self.script).arg("revert").output();
        match reverted {
            Ok(output) if output.status.success() => {}
            Ok(output) => eprintln!(
                "ringbolt-tune revert: {}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            ),
            Err(error) => eprintln!("ringbolt-tune revert could not run ({error}): run it by hand"),
        }
    }
}
