//! How fast histories are read.

fn main() {
    divan::main();
}
