//! Reads the command line and the environment, and finds every mistake in them before anything is started.

use std::ffi::OsString;
use std::path::Path;

use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, CommandFactory, FromArgMatches};

use super::Cli;

/// What was asked for, and what is wrong with its settings: a setting with a mistake has its default.
///
/// An error is no mistake in a setting: an unknown flag, a missing one, or a wish for help.
pub fn read(arguments: Vec<OsString>) -> Result<(Cli, Vec<String>), clap::Error> {
    let (mut command, mut arguments) = (Cli::command(), arguments);
    let (mut mistakes, mut first) = (Vec::new(), None);
    loop {
        let parsed = command
            .clone()
            .try_get_matches_from(&arguments)
            .and_then(|matches| Cli::from_arg_matches(&matches));
        let error = match parsed {
            Ok(cli) => return Ok((cli, mistakes)),
            Err(error) => error,
        };
        let Some(name) = wrong_setting(&error) else {
            // What a wrong value was needed for is missing now: the value is what was wrong.
            return Err(first.unwrap_or(error));
        };
        let said = error.to_string();
        let said = said.split("\n\n").next().unwrap_or_default();
        let mistake = said.strip_prefix("error: ").unwrap_or(said).trim();
        let mistake = mistake.split_whitespace().collect::<Vec<_>>().join(" ");
        let set_by = set_aside(&name, &mut command, &mut arguments);
        match set_by {
            Some(SetBy::Flag) => mistakes.push(mistake),
            Some(SetBy::Variable(variable)) => mistakes.push(format!("{variable}: {mistake}")),
            // Not a setting that could be left out.
            None => return Err(first.unwrap_or(error)),
        }
        first.get_or_insert(error);
    }
}

/// The setting whose value cannot be read, as it is shown.
fn wrong_setting(error: &clap::Error) -> Option<String> {
    let is_value = matches!(
        error.kind(),
        ErrorKind::ValueValidation | ErrorKind::InvalidValue
    );
    match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(name)) if is_value => Some(name.clone()),
        _ => None,
    }
}

enum SetBy {
    Flag,
    Variable(String),
}

/// Takes a wrong value away, so that the next mistake is found; where it came from.
fn set_aside(
    name: &str,
    command: &mut clap::Command,
    arguments: &mut Vec<OsString>,
) -> Option<SetBy> {
    let flag = name
        .split([' ', '='])
        .next()
        .filter(|it| it.starts_with("--"))?;
    let is_flag = |argument: &OsString| {
        argument.to_str().is_some_and(|text| {
            text == flag
                || text
                    .strip_prefix(flag)
                    .is_some_and(|it| it.starts_with('='))
        })
    };
    if let Some(place) = arguments.iter().position(is_flag) {
        let alone = arguments[place].to_str() == Some(flag);
        let end = (place + 1 + usize::from(alone)).min(arguments.len());
        arguments.drain(place..end);
        return Some(SetBy::Flag);
    }
    let mut variable = None;
    *command = without_variable(command.clone(), &flag[2..], &mut variable);
    variable.map(SetBy::Variable)
}

/// The command, with the setting of this flag deaf to the environment.
fn without_variable(
    command: clap::Command,
    name: &str,
    variable: &mut Option<String>,
) -> clap::Command {
    command
        .mut_args(|argument: Arg| {
            if argument.get_long() != Some(name) {
                return argument;
            }
            if let Some(found) = argument.get_env() {
                *variable = Some(found.to_string_lossy().into_owned());
            }
            argument.env(Resettable::Reset)
        })
        .mut_subcommands(|command| without_variable(command, name, variable))
}

/// Variables of the environment that look like settings of ours and are none: misspelled, most likely.
pub fn unknown_variables() -> Vec<String> {
    let mut known = vec![
        "ENCOURS_LOG".into(),
        "ENCOURS_LOG_FORMAT".into(),
        "ENCOURS_STOP_ON_EOF".into(),
    ];
    variables(&Cli::command(), &mut known);
    let is_known = |name: &str| {
        let name = name.strip_suffix("_FILE").unwrap_or(name);
        known.iter().any(|known| known == name)
    };
    std::env::vars_os()
        .filter_map(|(name, _)| name.into_string().ok())
        .filter(|name| name.starts_with("ENCOURS_") && !is_known(name))
        .collect()
}

fn variables(command: &clap::Command, found: &mut Vec<String>) {
    let named = command.get_arguments().filter_map(Arg::get_env);
    found.extend(named.map(|name| name.to_string_lossy().into_owned()));
    for command in command.get_subcommands() {
        variables(command, found);
    }
}

/// A secret from the setting itself, else from the file that the variable `<name>_FILE` names: what containers mount.
pub fn secret(name: &str, value: Option<String>, mistakes: &mut Vec<String>) -> Option<String> {
    let value = value.filter(|text| !text.is_empty());
    let filled = |name: &str| std::env::var_os(name).filter(|it| !it.is_empty());
    let variable = format!("{name}_FILE");
    let Some(path) = filled(&variable) else {
        return value;
    };
    if filled(name).is_some() {
        mistakes.push(format!(
            "{name} and {variable} are both set: keep one of them"
        ));
    }
    if value.is_some() {
        // A flag was meant more than what the container brings.
        return value;
    }
    match std::fs::read_to_string(Path::new(&path)) {
        Ok(text) if text.trim().is_empty() => {
            mistakes.push(format!("{variable}: {} is empty", path.display()));
            None
        }
        // Editors and shells end a file with a line break.
        Ok(text) => Some(text.trim().to_owned()),
        Err(error) => {
            mistakes.push(format!("{variable}: {}: {error}", path.display()));
            None
        }
    }
}

/// The value, or its default when there is none because of a mistake, which is noted.
pub fn noted<T: Default>(mistakes: &mut Vec<String>, found: Result<T, String>) -> T {
    found.unwrap_or_else(|mistake| {
        mistakes.push(mistake);
        T::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Command;

    fn reading(arguments: &[&str]) -> Result<(Cli, Vec<String>), clap::Error> {
        read(
            ["encours"]
                .iter()
                .chain(arguments)
                .map(OsString::from)
                .collect(),
        )
    }

    #[test]
    fn every_mistake_is_found_at_once() {
        let (cli, mistakes) = reading(&[
            "serve",
            "--pool-size",
            "0",
            "--access-ttl=61m",
            "--rate-burst",
            "no",
            "--job-seconds",
            "60",
        ])
        .expect("a command");
        assert_eq!(mistakes.len(), 3, "{mistakes:?}");
        for name in ["--pool-size", "--access-ttl", "--rate-burst"] {
            let told = mistakes.iter().filter(|it| it.contains(name)).count();
            assert_eq!(told, 1, "{name}: {mistakes:?}");
        }
        let Command::Serve(serve) = cli.command else {
            panic!("serve is expected");
        };
        assert_eq!(serve.job_seconds, 60);
    }

    #[test]
    fn what_is_no_setting_ends_the_reading() {
        assert!(reading(&["serve", "--pool-sise", "8"]).is_err());
        assert!(reading(&["--help"]).is_err());
        assert!(reading(&["token", "--company", "nothing"]).is_err());
    }
}
