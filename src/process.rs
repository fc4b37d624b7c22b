//! What the kernel tells of this process, by the names that all of Prometheus's clients use.

use std::fmt;
use std::time::{Duration, SystemTime};

use procfs::process::{LimitValue, Process};
use procfs::{page_size, ticks_per_second};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// This process, as it is when somebody asks. What cannot be read is left out.
#[derive(Debug)]
pub struct Own {
    started: SystemTime,
}

impl Own {
    /// To be made at the start: systemd's `ProcSubset` hides the clock by which the kernel counts.
    pub fn starting_now() -> Self {
        Self { started: SystemTime::now() }
    }
}

impl Collector for Own {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let mut show = |name: &str, help: &str, metric: &dyn EncodeMetric| {
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
        };
        let started = self.started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let help = "When the process was started, in seconds since 1970.";
        show("process_start_time_seconds", help, &ConstGauge::new(started.as_secs_f64()))?;
        let Ok(process) = Process::myself() else { return Ok(()) };
        if let Ok(stat) = process.stat() {
            let used = Duration::from_millis((stat.utime + stat.stime) * 1000 / ticks_per_second());
            let help = "Time of the processors that it has used, its own and the kernel's for it.";
            show("process_cpu_seconds", help, &ConstCounter::new(used.as_secs_f64()))?;
            let help = "Memory that it holds, mapped files that have been read among it.";
            show("process_resident_memory_bytes", help, &ConstGauge::new(stat.rss * page_size()))?;
        }
        if let Ok(open) = process.fd_count() {
            let open = u64::try_from(open).unwrap_or(u64::MAX);
            show("process_open_fds", "Files and connections that it has open.", &ConstGauge::new(open))?;
        }
        if let Ok(LimitValue::Value(most)) = process.limits().map(|limits| limits.max_open_files.soft_limit) {
            show("process_max_fds", "Files and connections that it may have open.", &ConstGauge::new(most))?;
        }
        Ok(())
    }
}
