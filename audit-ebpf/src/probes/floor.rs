//! Programs that do nothing, for measurements: what any capture by tracepoints at entry and exit of the data system
//! calls costs at least. `audit-agent bench-floor` attaches them; `run` never does.

use aya_ebpf::macros::tracepoint;
use aya_ebpf::programs::TracePointContext;

#[tracepoint]
pub fn nothing(_ctx: TracePointContext) -> u32 {
    0
}
