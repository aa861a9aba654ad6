//! The modules of an API, read from directories.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use herald_vpp_api::builtin::Builtin;
use herald_vpp_api::json::{self, JsonError};
use herald_vpp_api::schema::limits;
use herald_vpp_api::{Api, ParseError, Rules, Source, parse, print};

/// Why the modules of a directory cannot be served.
#[derive(Debug)]
pub enum ModuleError {
    /// A file or directory cannot be read.
    Read(PathBuf, io::Error),
    /// An .api file is wrong.
    Api(ParseError),
    /// An api.json file is wrong.
    Json(PathBuf, JsonError),
    /// A directory holds no API.
    Empty(PathBuf),
}

impl fmt::Display for ModuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ModuleError::Read(path, error) => write!(f, "{}: cannot read it: {error}", path.display()),
            ModuleError::Api(error) => error.fmt(f),
            ModuleError::Json(path, error) => write!(f, "{}: {error}", path.display()),
            ModuleError::Empty(path) => {
                write!(f, "{}: there is no .api or .api.json file in it", path.display())
            }
        }
    }
}

impl std::error::Error for ModuleError {}

/// Where VPP's packages put the api.json of its modules.
const INSTALLED: [&str; 2] = ["/usr/share/vpp/api", "/usr/local/share/vpp/api"];

/// Reads the modules of directories: every .api and .api.json file right in them, the .api file if both
/// are there. What an .api file imports is looked for in its directory, in an installed VPP's
/// share/vpp/api, and among the files that come with Herald.
pub fn read(directories: &[PathBuf], rules: Rules) -> Result<Vec<Arc<Api>>, ModuleError> {
    let mut modules = Vec::new();
    for directory in directories {
        let files = files(directory).map_err(|error| ModuleError::Read(directory.clone(), error))?;
        if files.is_empty() {
            return Err(ModuleError::Empty(directory.clone()));
        }
        for (name, file) in files {
            let text = text(&file).map_err(|error| ModuleError::Read(file.clone(), error))?;
            let api = if file.extension().is_some_and(|extension| extension == "api") {
                let source = (Directory(directory), (Installed(&INSTALLED), Builtin));
                parse::parse(&file.to_string_lossy(), &text, &source, rules).map_err(ModuleError::Api)?
            } else {
                json::read(&name, &text).map_err(|error| ModuleError::Json(file, error))?
            };
            modules.push(Arc::new(api));
        }
    }
    Ok(modules)
}

/// The file of each module in a directory, by the module's name.
fn files(directory: &Path) -> io::Result<BTreeMap<String, PathBuf>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if let Some(module) = name.strip_suffix(".api") {
            files.insert(module.replace('.', "_"), path);
        } else if let Some(module) = name.strip_suffix(".api.json") {
            files.entry(module.replace('.', "_")).or_insert(path);
        }
    }
    Ok(files)
}

/// The text of a file that is no longer than any API.
fn text(path: &Path) -> io::Result<String> {
    if std::fs::metadata(path)?.len() > limits::FILE_BYTES as u64 {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is too long to be an API"));
    }
    std::fs::read_to_string(path)
}

/// The text of a file; none if there is none.
fn text_if_there(path: &Path) -> Result<Option<String>, String> {
    match text(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

/// .api files below a directory.
struct Directory<'a>(&'a Path);

impl Source for Directory<'_> {
    fn read(&self, path: &str) -> Result<Option<Cow<'_, str>>, String> {
        // An import names a file below, never one beside or above.
        let below =
            Path::new(path).components().all(|part| matches!(part, std::path::Component::Normal(_)));
        if !below {
            return Ok(None);
        }
        Ok(text_if_there(&self.0.join(path))?.map(Cow::Owned))
    }
}

/// The types in the api.json files of an installed VPP, which is at one of these places.
struct Installed<'a>(&'a [&'a str]);

impl Installed<'_> {
    fn module(&self, path: &str) -> Result<Option<Api>, String> {
        let name = path.rsplit('/').next().unwrap_or(path);
        for root in self.0 {
            for folder in ["core", "plugins"] {
                let file = Path::new(root).join(folder).join(format!("{name}.json"));
                let Some(text) = text_if_there(&file)? else { continue };
                let api = json::read(&parse::module_name(name), &text)
                    .map_err(|error| format!("{}: {error}", file.display()))?;
                return Ok(Some(api));
            }
        }
        Ok(None)
    }
}

impl Source for Installed<'_> {
    fn read(&self, path: &str) -> Result<Option<Cow<'_, str>>, String> {
        let Some(api) = self.module(path)? else { return Ok(None) };
        // It holds the types that its module imports, too. Those come from wherever they are found first.
        let (mut text, mut imported) = (String::new(), HashSet::new());
        for import in api.imports() {
            if let Some(module) = self.module(import)? {
                text += &format!("import \"{import}\";\n");
                imported.extend(module.types().iter().map(|ty| ty.name.clone()));
            }
        }
        text += &print::print_types(&api, |name| !imported.contains(name));
        Ok(Some(Cow::Owned(text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use herald_vpp_api::builtin;
    use std::fs;

    #[test]
    fn a_directory_with_one_file_is_an_api() {
        let directory = tempfile::tempdir().unwrap();
        let text =
            "import \"vnet/ip/ip_types.api\"; autoreply define x { u32 context; vl_api_address_t a; };";
        fs::write(directory.path().join("light.api"), text).unwrap();
        let parsed = read(&[directory.path().into()], Rules::default()).unwrap();
        assert_eq!((parsed.len(), parsed[0].name()), (1, "light"));

        // An api.json beside it changes nothing, and alone says the same.
        fs::write(directory.path().join("light.api.json"), json::write(&parsed[0])).unwrap();
        assert_eq!(read(&[directory.path().into()], Rules::default()).unwrap(), parsed);
        fs::remove_file(directory.path().join("light.api")).unwrap();
        let loaded = read(&[directory.path().into()], Rules::default()).unwrap();
        assert_eq!(loaded[0].messages()[0].crc, parsed[0].messages()[0].crc);
    }

    #[test]
    fn imports_are_taken_from_the_directory_first() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("vnet")).unwrap();
        fs::write(directory.path().join("vnet/interface_types.api"), "typedef u16 interface_index;")
            .unwrap();
        let text =
            "import \"vnet/interface_types.api\"; autoreply define x { vl_api_interface_index_t i; };";
        fs::write(directory.path().join("light.api"), text).unwrap();
        let parsed = read(&[directory.path().into()], Rules::default()).unwrap();
        assert_eq!(parsed[0].messages()[0].extent.fixed, 2);
    }

    #[test]
    fn imports_are_taken_from_an_installed_vpp() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("core")).unwrap();
        let write = |name: &str, text: &str| {
            let api = parse::parse(name, text, &Builtin, Rules::default()).unwrap();
            fs::write(root.path().join("core").join(format!("{name}.json")), json::write(&api)).unwrap();
        };
        // All hold the types of ip_types.
        write("ip_types.api", builtin::text("vnet/ip/ip_types.api").unwrap());
        write("a_types.api", "import \"vnet/ip/ip_types.api\"; typedef a { vl_api_address_t x; };");
        write("b_types.api", "import \"vnet/ip/ip_types.api\"; typedef b { vl_api_prefix_t x; };");
        let text = "import \"x/a_types.api\"; import \"y/b_types.api\";
            autoreply define m { vl_api_a_t a; vl_api_b_t b; };";
        let roots = [root.path().to_str().unwrap()];
        let api = parse::parse("m.api", text, &Installed(&roots), Rules::default()).unwrap();
        assert_eq!(api.messages()[0].extent.fixed, 17 + 18);

        // A directory with some of them, too: they are taken from there.
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("vnet/ip")).unwrap();
        let types = builtin::text("vnet/ip/ip_types.api").unwrap().replace("u8 len;", "u16 len;");
        fs::write(directory.path().join("vnet/ip/ip_types.api"), types).unwrap();
        let source = (Directory(directory.path()), Installed(&roots));
        for text in [text.to_owned(), format!("import \"vnet/ip/ip_types.api\"; {text}")] {
            let api = parse::parse("m.api", &text, &source, Rules::default()).unwrap();
            assert_eq!(api.messages()[0].extent.fixed, 17 + 19);
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let above = tempfile::tempdir().unwrap();
        fs::write(above.path().join("y.api"), "typedef u8 y;").unwrap();
        let directory = tempfile::tempdir_in(above.path()).unwrap();
        let complaint = || read(&[directory.path().into()], Rules::default()).unwrap_err().to_string();
        assert!(complaint().ends_with("there is no .api or .api.json file in it"));
        fs::write(directory.path().join("x.api"), "define x { u33 y; };").unwrap();
        assert!(complaint().contains("x.api:1:12: "), "{}", complaint());
        fs::write(directory.path().join("x.api"), "import \"../y.api\";").unwrap();
        assert!(complaint().contains("cannot find the imported file '../y.api'"), "{}", complaint());
        let gone = read(&["/nonexistent/api".into()], Rules::default()).unwrap_err().to_string();
        assert!(gone.starts_with("/nonexistent/api: cannot read it: "), "{gone}");
    }
}
