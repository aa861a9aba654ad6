//! herald-apigen: .api files into api.json and C headers.

#![forbid(unsafe_code)]

mod files;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use herald_vpp_api::builtin::{self, Builtin};
use herald_vpp_api::{Api, Rules, header, json, parse};

/// Turns a VPP .api file into api.json and a C header, or checks that its messages have not changed.
///
/// Imports are looked for in the directories given with --include, in their order, then in the directory
/// of FILE, then among the common types that are built in. Without --json, --header and --check the file
/// is checked only.
#[derive(Debug, Parser)]
#[command(name = "herald-apigen", version, after_help = EXIT_CODES)]
struct Arguments {
    /// The .api file, or one that is built in, by the path that imports name: vlibmemory/memclnt.api,
    /// vpp/api/vpe.api, vnet/ip/ip_types.api, herald.api ...
    file: PathBuf,

    /// Look for imports in DIR; may be repeated.
    #[arg(short = 'I', long, value_name = "DIR")]
    include: Vec<PathBuf>,

    /// Write api.json to OUT, - for standard output.
    #[arg(long, value_name = "OUT")]
    json: Option<PathBuf>,

    /// Write a C header to OUT, - for standard output.
    #[arg(long, value_name = "OUT")]
    header: Option<PathBuf>,

    /// Compare the CRC of every message with OLD, an api.json, and say which have changed.
    #[arg(long, value_name = "OLD")]
    check: Option<PathBuf>,

    /// The release of VPP by whose rules CRCs are computed and api.json is written.
    #[arg(long, value_name = "RELEASE", default_value = "26.06")]
    release: Rules,
}

const EXIT_CODES: &str = "\
Exit codes: 0 all is well; 1 --check found a change that clients would notice; \
2 wrong usage; 3 a file could not be read, understood or written.";

/// What went wrong, as it is printed.
struct Failure(String);

/// A change was found that clients would notice.
const DRIFT: u8 = 1;
/// A file could not be read, understood or written.
const FAILED: u8 = 3;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(DRIFT),
        Err(Failure(message)) => {
            eprintln!("herald-apigen: {message}");
            ExitCode::from(FAILED)
        }
    }
}

/// Does as asked. False means that `--check` found drift; files are written all the same.
fn run(arguments: &Arguments) -> Result<bool, Failure> {
    let name = arguments.file.to_string_lossy();
    let text = match builtin::text(&name) {
        Some(text) if !arguments.file.exists() => text.to_owned(),
        _ => read(&arguments.file)?,
    };
    let own = arguments.file.parent().map(Path::to_owned);
    let files = files::Directories(arguments.include.iter().cloned().chain(own).collect());
    let api = parse::parse(&name, &text, &(files, Builtin), arguments.release)
        .map_err(|e| Failure(e.to_string()))?;

    if let Some(out) = &arguments.json {
        write(out, &(json::write(&api) + "\n"))?;
    }
    if let Some(out) = &arguments.header {
        let origin = arguments.file.file_name().map(|n| n.to_string_lossy()).unwrap_or_default();
        let text = header::header(&api, &origin).map_err(|e| Failure(format!("{name}: {e}")))?;
        write(out, &text)?;
    }
    match &arguments.check {
        None => Ok(true),
        Some(old) => check(&api, old),
    }
}

/// Reports every message that has changed, gone or come, and says whether clients of the old API can go
/// on.
fn check(api: &Api, path: &Path) -> Result<bool, Failure> {
    let shown = path.display();
    let old = json::read(api.name(), &read(path)?).map_err(|e| Failure(format!("{shown}: {e}")))?;
    let (mut report, mut drift) = (String::new(), 0);
    for before in old.messages() {
        match api.message(&before.name) {
            None => {
                drift += 1;
                report += &format!("{}: gone (was {:08x})\n", before.name, before.crc);
            }
            Some(now) if now.crc != before.crc => {
                drift += 1;
                report += &format!("{}: {:08x} is now {:08x}\n", before.name, before.crc, now.crc);
            }
            Some(_) => {}
        }
    }
    for now in api.messages().iter().filter(|m| old.message(&m.name).is_none()) {
        report += &format!("{}: new ({:08x})\n", now.name, now.crc);
    }
    let compared = old.messages().len();
    report += &format!("{compared} messages compared with {shown}, {drift} changed\n");
    write(Path::new("-"), &report)?;
    Ok(drift == 0)
}

fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|e| Failure(format!("cannot read {}: {e}", path.display())))
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let written = match path.as_os_str() == "-" {
        true => io::stdout().write_all(text.as_bytes()),
        false => fs::write(path, text),
    };
    written.map_err(|e| Failure(format!("cannot write {}: {e}", path.display())))
}
