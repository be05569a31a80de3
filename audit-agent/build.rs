fn main() {
    let out = std::env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bpf/audit-ebpf.o");
    println!("cargo:rerun-if-changed={}", source.display());
    let bytes = std::fs::read(&source).unwrap_or_default();
    std::fs::write(std::path::Path::new(&out).join("audit-ebpf.o"), bytes).expect("OUT_DIR is writable");
}
