//! Letters as PDF: one layout, typeset by typst. What a letter says is data, never markup.

use std::sync::LazyLock;

use serde::Serialize;
use typst::diag::{FileError, FileResult};
use typst::foundations::{Bytes, Datetime, Duration, Smart};
use typst::syntax::{FileId, RootedPath, Source, VirtualPath, VirtualRoot};
use typst::text::{Font, FontBook};
use typst::utils::LazyHash;
use typst::{Library, LibraryExt, World};
use typst_layout::PagedDocument;
use typst_pdf::PdfOptions;

const LAYOUT: &str = include_str!("pdf/letter.typ");

/// Why a letter was not typeset: a fault of ours, or an image that is none.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a letter was not typeset: {0}")]
pub struct NotTypeset(String);

type Result<T> = std::result::Result<T, NotTypeset>;

/// A letter, ready to be typeset. Every text is shown as it is; `\n` breaks a line.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Letter {
    /// `fr` or `en`: hyphenation.
    pub language: String,
    pub sender: Party,
    pub recipient: Party,
    /// How it travels, above the recipient: "Lettre recommandée avec accusé de réception".
    pub delivery: Option<String>,
    /// Place and day.
    pub dated: String,
    /// What it refers to: label and value.
    pub references: Vec<(String, String)>,
    pub subject: String,
    pub blocks: Vec<Block>,
    pub signatory: Signatory,
    /// Legal mentions of the sender at the foot of each page.
    pub footer: String,
    /// The images that `sender.logo` and `signatory.image` name.
    #[serde(skip)]
    pub images: Vec<(String, Vec<u8>)>,
}

/// Who writes, or who is written to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Party {
    pub name: String,
    pub lines: Vec<String>,
    /// Name of an image.
    pub logo: Option<String>,
}

/// Who signs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Signatory {
    pub name: String,
    pub title: String,
    /// Name of an image.
    pub image: Option<String>,
}

/// A part of a letter.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Block {
    Text { text: String },
    Table(Table),
}

/// Rows of figures.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Table {
    pub columns: Vec<Column>,
    pub rows: Vec<Vec<String>>,
    /// The last row in bold; empty when there is none.
    pub total: Vec<String>,
}

/// A column: its title, whether figures stand right, whether it takes the room that is left.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Column {
    pub title: String,
    pub right: bool,
    pub wide: bool,
}

/// Typesets a letter. The same letter gives the same bytes.
pub fn letter(letter: &Letter) -> Result<Vec<u8>> {
    let content = serde_json::to_vec(letter).map_err(|error| NotTypeset(error.to_string()))?;
    let world = Desk::new(content, &letter.images)?;
    let compiled = typst::compile::<PagedDocument>(&world).output;
    let pdf = compiled.and_then(|document| {
        let options = PdfOptions {
            creator: Smart::Custom(Some("encours".into())),
            ..PdfOptions::default()
        };
        typst_pdf::pdf(&document, &options)
    });
    // What typst remembers of earlier letters is not needed again.
    comemo::evict(2);
    pdf.map_err(|faults| {
        let told: Vec<_> = faults.iter().map(|fault| fault.message.as_str()).collect();
        NotTypeset(told.join("; "))
    })
}

static FONTS: LazyLock<(LazyHash<FontBook>, Vec<Font>)> = LazyLock::new(|| {
    let fonts: Vec<Font> = typst_assets::fonts()
        .flat_map(|data| Font::iter(Bytes::new(data)))
        .collect();
    (LazyHash::new(FontBook::from_fonts(&fonts)), fonts)
});
static LIBRARY: LazyLock<LazyHash<Library>> = LazyLock::new(|| LazyHash::new(Library::default()));

/// All that a letter may look at: its layout, its content, its images. No file system, no network, no clock.
struct Desk {
    main: Source,
    files: Vec<(FileId, Bytes)>,
}

impl Desk {
    fn new(content: Vec<u8>, images: &[(String, Vec<u8>)]) -> Result<Desk> {
        let mut files = vec![(id("letter.json")?, Bytes::new(content))];
        for (name, bytes) in images {
            files.push((id(name)?, Bytes::new(bytes.clone())));
        }
        Ok(Desk {
            main: Source::new(id("main.typ")?, LAYOUT.to_owned()),
            files,
        })
    }
}

fn id(name: &str) -> Result<FileId> {
    let path =
        VirtualPath::new(name).map_err(|_| NotTypeset(format!("{name} is no name of a file")))?;
    Ok(RootedPath::new(VirtualRoot::Project, path).intern())
}

impl World for Desk {
    fn library(&self) -> &LazyHash<Library> {
        &LIBRARY
    }
    fn book(&self) -> &LazyHash<FontBook> {
        &FONTS.0
    }
    fn main(&self) -> FileId {
        self.main.id()
    }
    fn source(&self, id: FileId) -> FileResult<Source> {
        if id == self.main.id() {
            Ok(self.main.clone())
        } else {
            Err(FileError::AccessDenied)
        }
    }
    fn file(&self, id: FileId) -> FileResult<Bytes> {
        self.files
            .iter()
            .find(|(known, _)| *known == id)
            .map(|(_, bytes)| bytes.clone())
            .ok_or(FileError::AccessDenied)
    }
    fn font(&self, index: usize) -> Option<Font> {
        FONTS.1.get(index).cloned()
    }
    fn today(&self, _: Option<Duration>) -> Option<Datetime> {
        None
    }
}

/// Whether an image can be set: what typst itself thinks of its bytes, on an empty letter.
pub fn is_image(bytes: &[u8]) -> bool {
    let nobody = Party {
        name: "x".into(),
        lines: Vec::new(),
        logo: None,
    };
    let name = image_name("logo", bytes);
    let trial = Letter {
        language: "fr".into(),
        sender: Party {
            logo: Some(name.clone()),
            ..nobody.clone()
        },
        recipient: nobody,
        delivery: None,
        dated: String::new(),
        references: Vec::new(),
        subject: "x".into(),
        blocks: Vec::new(),
        signatory: Signatory {
            name: String::new(),
            title: String::new(),
            image: None,
        },
        footer: String::new(),
        images: vec![(name, bytes.to_vec())],
    };
    letter(&trial).is_ok()
}

/// A name for an image, with the ending that says what it is.
pub fn image_name(stem: &str, bytes: &[u8]) -> String {
    let ending = if bytes.starts_with(b"\x89PNG") {
        "png"
    } else {
        "jpg"
    };
    format!("{stem}.{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn party(name: &str) -> Party {
        Party {
            name: name.into(),
            lines: vec!["12 rue de la République".into(), "69002 Lyon".into()],
            logo: None,
        }
    }

    /// A letter with a table.
    pub fn sample() -> Letter {
        Letter {
            language: "fr".into(),
            sender: party("Café Müller & Ænima #1 *SARL*"),
            recipient: party("Ελληνική Εταιρεία Šťastný Ňuňez"),
            delivery: Some("Lettre recommandée avec accusé de réception".into()),
            dated: "Lyon, le 4 mai 2026".into(),
            references: vec![("Votre compte".into(), "C001".into())],
            subject: "Mise en demeure".into(),
            blocks: vec![
                Block::Text {
                    text: "Première ligne\n#let x = [ceci n'est pas du code] $x^2$ @ref <label>"
                        .into(),
                },
                Block::Table(Table {
                    columns: vec![
                        Column {
                            title: "Facture".into(),
                            right: false,
                            wide: true,
                        },
                        Column {
                            title: "Reste dû".into(),
                            right: true,
                            wide: false,
                        },
                    ],
                    rows: (0..60)
                        .map(|row| vec![format!("FA-{row}"), "1 200,00 EUR".into()])
                        .collect(),
                    total: vec!["Total".into(), "72 000,00 EUR".into()],
                }),
            ],
            signatory: Signatory {
                name: "Claire Dupré".into(),
                title: "Credit manager".into(),
                image: None,
            },
            footer: "SARL au capital de 10 000 € — RCS Lyon 123 456 789".into(),
            images: Vec::new(),
        }
    }

    #[test]
    fn a_letter_is_a_pdf_and_the_same_letter_the_same_bytes() {
        let pdf = letter(&sample()).expect("typeset");
        assert!(pdf.starts_with(b"%PDF-"));
        assert_eq!(pdf, letter(&sample()).expect("typeset"));
        if let Some(directory) = std::env::var_os("ENCOURS_TEST_PDF") {
            std::fs::write(std::path::Path::new(&directory).join("letter.pdf"), &pdf)
                .expect("kept");
        }
    }

    #[test]
    fn only_images_are_images() {
        assert!(!is_image(b"not an image"));
        assert!(!is_image(b"\x89PNG broken"));
    }
}
