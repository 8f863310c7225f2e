//! The raw SQL of a question, measured by pgbench: prepared, over the Unix socket, on the same database.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::load::Speed;

/// The database, and the programs of its PostgreSQL.
pub struct Database {
    pub url: String,
    pub programs: PathBuf,
    pub scratch: PathBuf,
}

impl Database {
    /// What a statement prints, unaligned.
    pub fn ask(&self, sql: &str) -> Result<String> {
        let output = Command::new(self.programs.join("psql"))
            .args([
                "-X",
                "-q",
                "-A",
                "-t",
                "-v",
                "ON_ERROR_STOP=1",
                "-d",
                &self.url,
                "-c",
                sql,
            ])
            .output()
            .context("psql")?;
        if !output.status.success() {
            bail!("psql: {}\n{sql}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Seconds that a statement takes whose rows are thrown away, with this much memory for each sort and hash.
    pub fn discarded(&self, sql: &str, memory: &str) -> Result<f64> {
        let since = Instant::now();
        let status = Command::new(self.programs.join("psql"))
            .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", &self.url])
            .args(["-c", sql])
            .env("PGOPTIONS", format!("-c jit=off -c work_mem={memory}"))
            .stdout(Stdio::null())
            .status()
            .context("psql")?;
        if !status.success() {
            bail!("psql: {sql}");
        }
        Ok(since.elapsed().as_secs_f64())
    }

    /// Runs a script of statements on `connections` at once for `seconds`.
    pub fn run(&self, script: &str, connections: usize, seconds: u64) -> Result<Speed> {
        let file = self.scratch.join("script.sql");
        std::fs::write(&file, script)?;
        let prefix = self.scratch.join("pgbench");
        let output = Command::new(self.programs.join("pgbench"))
            .args(["-n", "-M", "prepared", "-c", &connections.to_string()])
            .args([
                "-j",
                &connections.min(2).to_string(),
                "-T",
                &seconds.to_string(),
            ])
            .arg("-f")
            .arg(&file)
            .args(["-l", "--log-prefix"])
            .arg(&prefix)
            .arg(&self.url)
            .env("PGOPTIONS", "-c jit=off")
            .output()
            .context("pgbench")?;
        let text = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            bail!("pgbench: {}", String::from_utf8_lossy(&output.stderr));
        }
        let per_second = text
            .lines()
            .find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok())
            .with_context(|| format!("no figure in {text}"))?;
        Ok(Speed::of(per_second, self.latencies(&prefix)?))
    }

    /// The third column of its logs: microseconds.
    fn latencies(&self, prefix: &Path) -> Result<Vec<u32>> {
        let name = prefix
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let mut latencies = Vec::new();
        for entry in std::fs::read_dir(&self.scratch)? {
            let path = entry?.path();
            let is_log = path
                .file_name()
                .is_some_and(|file| file.to_string_lossy().starts_with(&format!("{name}.")));
            if is_log {
                let text = std::fs::read_to_string(&path)?;
                latencies.extend(
                    text.lines()
                        .filter_map(|line| line.split(' ').nth(2)?.parse::<u32>().ok()),
                );
                std::fs::remove_file(&path)?;
            }
        }
        Ok(latencies)
    }
}
