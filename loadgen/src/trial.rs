//! One run: which server is driven, with what workload, and what it must hold.

use crate::check::check;
use crate::judge::judge;
use crate::progress::Reporter;
use crate::result::RunResult;
use crate::server_process::{Door, ServerProcess, find_ringbolt};
use crate::targets::Target;
use crate::workload::Workload;
use crate::{engine, find_max};
use ringbolt_ring::Address;
use std::time::Duration;

/// Reads a trial from the flags of a run, as one string.
pub type Read = fn(&str) -> Result<Trial, String>;

#[derive(Clone, Debug)]
pub struct ServerPlan {
    /// Of a server that runs; ringbolt-server is started if there is none.
    pub address: Option<Address>,
    /// The process whose CPU time and memory count; the one started if there is none.
    pub pid: Option<u32>,
    /// Drive the one started over a Unix socket.
    pub unix: bool,
    /// Of the one started.
    pub flags: Vec<String>,
    pub cores: String,
}

#[derive(Clone, Debug)]
pub struct Trial {
    pub server: ServerPlan,
    pub workload: Workload,
    pub targets: Vec<Target>,
    /// The response P99 to hold.
    pub slo: Option<Duration>,
    /// Look for the highest rate that holds it.
    pub find_max: bool,
}

impl Trial {
    /// Against the server that is named, or started.
    pub fn measure(&self, reporter: &mut Reporter) -> Result<RunResult, String> {
        check(&self.workload)?;
        let plan = &self.server;
        let (server, address) = match &plan.address {
            Some(address) => (None, address.clone()),
            None => {
                let door = Door::of(self.workload.dialect, plan.unix)?;
                let server = ServerProcess::ringbolt(&find_ringbolt()?, &plan.cores, &plan.flags, door)?;
                let address = server.address.clone();
                (Some(server), address)
            }
        };
        let pid = plan.pid.or(server.as_ref().map(ServerProcess::pid));
        if self.find_max {
            let slo = self.slo.ok_or("--find-max wants the objective: --slo 1ms")?;
            return find_max::search(&self.workload, &address, slo.as_nanos() as u64, pid, reporter);
        }
        self.measure_at(&address, pid, reporter)
    }

    /// Against a server that runs.
    pub fn measure_at(
        &self,
        address: &Address,
        pid: Option<u32>,
        reporter: &mut Reporter,
    ) -> Result<RunResult, String> {
        check(&self.workload)?;
        let outcome = engine::run(&self.workload, address, pid, reporter)?;
        let slo = self.slo.map(|slo| Target::response_p99(slo.as_nanos() as u64));
        let targets: Vec<Target> = slo.into_iter().chain(self.targets.iter().copied()).collect();
        Ok(judge(&self.workload, address, &outcome, &targets))
    }
}
