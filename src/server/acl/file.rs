//! ACL LOAD and ACL SAVE, and the same at start: the file that `aclfile` names.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::Context;
use crate::acl::{PubsubDefault, Users};
use crate::resp::reply::Value;
use crate::store::file::{ConfFile, Disk};

const NO_FILE: Value = Value::fixed_error(
    "ERR This Redis instance is not configured to use an ACL file. You may want to specify users via the ACL SETUSER \
     command and then issue a CONFIG REWRITE (assuming you have a Redis configuration file set) in order to store \
     users in the Redis configuration.",
);

/// Reads the users of a file, and logs what there is to remark about them. The error is stock's text. Deviates: stock takes a directory for an empty file.
pub fn read(path: &Path, pubsub: PubsubDefault) -> Result<Users, String> {
    let name = path.display().to_string();
    let text = fs::read(path).map_err(|error| {
        let errno = error.raw_os_error().map_or(nix::errno::Errno::UnknownErrno, nix::errno::Errno::from_raw);
        format!("Error loading ACLs, opening file '{name}': {}", errno.desc())
    })?;
    let users = Users::from_file(&text, &name, pubsub)?;
    for remark in users.remarks() {
        tracing::warn!("{remark}");
    }
    Ok(users)
}

/// `ACL LOAD`
pub(crate) async fn load(context: &Context, asker: u64) -> Value {
    let Some(path) = context.acl.file.clone() else { return NO_FILE };
    let pubsub = context.acl.users().pubsub_default();
    let read = tokio::task::spawn_blocking(move || read(&path, pubsub)).await.expect("reading does not panic");
    let changed = context.acl.change(context, asker, |users| {
        users.replace(read?);
        Ok::<(), String>(())
    });
    changed.map_or_else(|error| Value::error(format!("ERR {error}")), |()| Value::OK)
}

/// `ACL SAVE`
pub(crate) async fn save(context: &Context) -> Value {
    let Some(path) = context.acl.file.clone() else { return NO_FILE };
    let text = context.acl.users().file_text();
    let saved = tokio::task::spawn_blocking(move || replace(path, &text)).await.expect("saving does not panic");
    match saved {
        Ok(()) => Value::OK,
        Err(error) => {
            tracing::warn!("Saving the ACL file for ACL SAVE: {error}");
            Value::fixed_error(
                "ERR There was an error trying to save the ACLs. Please check the server logs for more information",
            )
        }
    }
}

fn replace(path: PathBuf, text: &[u8]) -> Result<(), String> {
    // The current directory is `dir` since the start.
    let path = std::path::absolute(path).map_err(|error| error.to_string())?;
    ConfFile::new(path).replace(text).map_err(|error| error.to_string())
}
