mod start;

fn main() {
    start::start();
}
