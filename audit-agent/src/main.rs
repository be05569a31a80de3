//! The `audit-agent` command.

fn main() {
    let mut k = match audit_agent::capture::live::Kernel::load(16 << 20) {
        Ok(k) => k,
        Err(e) => {
            eprintln!("{e:#} {e:?}");
            return;
        }
    };
    eprintln!("loaded");
    for _ in 0..60 {
        std::thread::sleep(std::time::Duration::from_millis(100));
        k.drain(1000, |e| match audit_common::decode::Event::parse(e) {
            Ok(e) => match e.body {
                audit_common::decode::Body::Data(d) => println!(
                    "{} data {:?} {:?} off {} len {} eof {} {:?}",
                    e.pid,
                    d.conn,
                    d.direction,
                    d.offset,
                    d.stream_len,
                    d.eof,
                    String::from_utf8_lossy(&d.bytes[..d.bytes.len().min(80)])
                ),
                b => println!("{} {:?}", e.pid, b),
            },
            Err(e) => println!("ERR {e}"),
        });
    }
    println!("{:?}", k.losses());
}
