//! The `ckslab` binary: everything is in the library.

fn main() -> ckslab::exit::Exit {
    ckslab::cli::main()
}
