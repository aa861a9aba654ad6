//! OpenSIPS's configuration, which every version wants otherwise.

use std::path::{Path, PathBuf};

use crate::event::BUSY;
use crate::tree::Version;

/// What a configuration says.
pub struct Config {
    tree: PathBuf,
    pub version: Version,
    ip: String,
    event_datagram: PathBuf,
    /// How many processes take SIP requests.
    pub workers: usize,
    /// What else is said about them.
    pub scaling: &'static str,
    /// Lines at the beginning.
    pub globals: String,
    /// Lines after event_datagram is loaded.
    pub modparams: String,
    /// Lines after those.
    pub modules: String,
    /// Statements of the startup route.
    pub startup: String,
    /// Whole routes.
    pub routes: String,
}

/// The events that the script can raise.
const EVENTS: [&str; 3] = ["E_SCRIPT", "E_OTHER", "E_FENCE"];

impl Config {
    pub fn new(tree: &Path, version: Version, ip: String, event_datagram: PathBuf) -> Config {
        Config {
            tree: tree.to_owned(),
            version,
            ip,
            event_datagram,
            workers: 2,
            scaling: "",
            globals: String::new(),
            modparams: String::new(),
            modules: String::new(),
            startup: String::new(),
            routes: String::new(),
        }
    }

    /// An address that no other OpenSIPS has.
    pub fn ip(&self) -> &str {
        &self.ip
    }

    /// Where SIP requests go.
    pub fn sip(&self) -> String {
        format!("{}:5060", self.ip)
    }

    /// Where MI requests go.
    pub fn mi(&self) -> String {
        format!("{}:5061", self.ip)
    }

    /// The line that loads one of the tree's modules.
    pub fn load(&self, module: &str) -> String {
        load(&self.tree.join(format!("modules/{module}/{module}.so")))
    }

    /// The statement that raises an event with the script's values but without names.
    pub fn raise_unnamed(&self, event: &str) -> String {
        let gap = if self.version.since(3, 1) { ", " } else { "" };
        format!("raise_event(\"{event}\", {gap}$avp(v));")
    }

    /// The whole text.
    pub fn text(&self) -> String {
        let pick = |major, minor, new: &str, old: &str| {
            if self.version.since(major, minor) { new.to_owned() } else { old.to_owned() }
        };
        let log =
            pick(3, 4, "stderror_enabled=yes\nsyslog_enabled=no", "log_stderror=yes\nauto_aliases=no");
        let workers = pick(3, 0, "udp_workers", "children");
        let socket = pick(3, 1, "socket", "listen");
        let ok = pick(3, 0, "200", "\"200\"");
        let busy = pick(3, 0, &BUSY.to_string(), &format!("\"{BUSY}\""));
        let loads: String = ["signaling", "sl", "sipmsgops", "cfgutils", "mi_datagram"]
            .map(|module| self.load(module))
            .concat();
        let raises: String = EVENTS.map(|event| self.raises(event)).concat();
        let Config { globals, modparams, modules, startup, routes, scaling, .. } = self;
        let (sip, mi, count) = (self.sip(), self.mi(), self.workers);
        let event_datagram = load(&self.event_datagram);
        format!(
            r#"log_level=3
{log}
{globals}
{workers}={count}{scaling}
{socket}=udp:{sip}
max_while_loops=1000000
loadmodule "proto_udp.so"
{loads}modparam("mi_datagram", "socket_name", "udp:{mi}")
{event_datagram}{modparams}{modules}
startup_route {{
	xlog("L_NOTICE", "startup_route runs\n");
	{startup}
}}
route {{
	if (is_method("PING")) {{ sl_send_reply({ok}, "OK"); exit; }}
	$var(i) = 0;
	while ($var(i) < $hdrcnt(X-Param)) {{
		$var(p) = $(hdr(X-Param)[$var(i)]);
		$var(kind) = $(var(p){{s.select,0,:}});
		$var(name) = $(var(p){{s.select,1,:}});
		$var(value) = $(var(p){{s.select,2,:}});
		if ($var(name) == "-") $(avp(n)[append]) = "";
		else $(avp(n)[append]) = $(var(name){{s.decode.hexa}});
		if ($var(kind) == "b") {{ $(avp(v)[append]) = $rb; }}
		else if ($var(kind) == "p") {{ $(avp(v)[append]) = $pp; }}
		else if ($var(value) == "-") {{ $(avp(v)[append]) = ""; }}
		else if ($var(kind) == "i") {{
			$var(x) = $(var(value){{s.decode.hexa}});
			$(avp(v)[append]) = $(var(x){{s.int}});
		}}
		else {{ $(avp(v)[append]) = $(var(value){{s.decode.hexa}}); }}
		$var(i) = $var(i) + 1;
	}}
	$var(left) = $(hdr(X-Repeat){{s.int}});
	while ($var(left) > 0) {{
{raises}		$var(left) = $var(left) - 1;
	}}
	if (is_method("BUSY")) {{ usleep({busy}); }}
	sl_send_reply({ok}, "OK");
	exit;
}}
{routes}"#
        )
    }

    /// The name of an event must be a constant in the script.
    fn raises(&self, event: &str) -> String {
        let unnamed = self.raise_unnamed(event);
        format!(
            r#"		if ($hdr(X-Event) == "{event}") {{
			if ($hdr(X-Mode) == "none") {{ raise_event("{event}"); }}
			else if ($hdr(X-Mode) == "unnamed") {{ {unnamed} }}
			else {{ raise_event("{event}", $avp(n), $avp(v)); }}
		}}
"#
        )
    }
}

fn load(module: &Path) -> String {
    format!("loadmodule \"{}\"\n", module.display())
}
