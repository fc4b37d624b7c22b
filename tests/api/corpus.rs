//! The inputs that the fuzz targets of `fuzz/` have kept, each of which once led to code that no
//! other did, still have what holds of any input.

use std::fs;
use std::path::Path;

#[path = "../../fuzz/checks.rs"]
mod checks;

#[test]
fn inputs_that_were_worth_keeping_hold_what_any_input_must() {
    type Check = fn(&[u8]);
    let targets = [
        ("query", checks::query as Check),
        ("time", checks::time),
        ("list", checks::list),
        ("record", checks::record),
        ("import", checks::import),
    ];
    for (target, check) in targets {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
        let mut count = 0;
        for entry in fs::read_dir(folder).expect("a folder of inputs") {
            check(&fs::read(entry.expect("an entry").path()).expect("an input"));
            count += 1;
        }
        assert!(count > 2, "{target}: {count}");
    }
}
