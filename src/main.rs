//! Arguments in, exit code out.

fn main() -> std::process::ExitCode {
    needledrop::cli::main()
}
