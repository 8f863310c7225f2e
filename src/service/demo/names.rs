//! The tables of the demo: people, clients, what is sold. All of it is made up.

use crate::domain::access::Role;
use crate::domain::terms::TermsRule::{self, DaysThenEom, Decade, EomThenDays, LegalDefault, Net};

/// Members: role, e-mail, name. The order is relied on by [`SALES`] and [`COLLECTORS`].
pub const PEOPLE: &[(Role, &str, &str)] = &[
    (Role::Admin, "admin@demo.example", "Camille Roussel"),
    (Role::Director, "directrice@demo.example", "Hélène Marchand"),
    (Role::CreditManager, "credit@demo.example", "Nadia Benhaïm"),
    (Role::ArAccountant, "compta@demo.example", "Sophie Lefèvre"),
    (Role::ArAccountant, "relance@demo.example", "Théo Guérin"),
    (Role::Sales, "commercial@demo.example", "Julien Garnier"),
    (Role::Sales, "commerciale@demo.example", "Inès Carpentier"),
    (Role::Auditor, "expert@demo.example", "François Delmas"),
    (Role::BiReader, "bi@demo.example", "Tableau de bord"),
];

/// Positions in [`PEOPLE`].
pub const ADMIN: usize = 0;
/// The credit manager.
pub const CREDIT: usize = 2;
/// The accountant who records everything.
pub const ACCOUNTANT: usize = 3;
/// Those who own portfolios.
pub const SALES: [usize; 2] = [5, 6];
/// Those who chase.
pub const COLLECTORS: [usize; 2] = [4, 2];

/// How a client pays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Habit {
    /// On the day or before.
    Prompt,
    /// As most do.
    Usual,
    /// Weeks late, sometimes never.
    Slow,
    /// Hardly ever any more.
    Broke,
}

/// A row of [`CLIENTS`].
pub struct Row {
    pub name: &'static str,
    pub kind: &'static str,
    pub segment: &'static str,
    pub address: &'static str,
    pub terms: (TermsRule, u16, Option<u8>),
    pub habit: Habit,
    pub currency: &'static str,
}

const fn row(
    name: &'static str,
    kind: &'static str,
    segment: &'static str,
    address: &'static str,
    terms: (TermsRule, u16, Option<u8>),
    habit: Habit,
) -> Row {
    Row {
        name,
        kind,
        segment,
        address,
        terms,
        habit,
        currency: "EUR",
    }
}

const N30: (TermsRule, u16, Option<u8>) = (Net, 30, None);
const N45: (TermsRule, u16, Option<u8>) = (Net, 45, None);
const N60: (TermsRule, u16, Option<u8>) = (Net, 60, None);
const CASH: (TermsRule, u16, Option<u8>) = (Net, 0, None);
const EOM_30: (TermsRule, u16, Option<u8>) = (EomThenDays, 30, None);
const EOM_45: (TermsRule, u16, Option<u8>) = (EomThenDays, 45, None);
const D45_EOM: (TermsRule, u16, Option<u8>) = (DaysThenEom, 45, None);
const D30_EOM_10: (TermsRule, u16, Option<u8>) = (DaysThenEom, 30, Some(10));
const LEGAL: (TermsRule, u16, Option<u8>) = (LegalDefault, 0, None);
const DECADE_20: (TermsRule, u16, Option<u8>) = (Decade, 20, None);

/// The clients C001, C002, … The first [`CORE`] buy most often.
#[rustfmt::skip]
pub const CLIENTS: &[Row] = &[
    row("Hôtels Belle Époque SA", "CUSTOMER", "LARGE_GROUP", "12 avenue des Tilleuls, 75008 Paris", N60, Habit::Usual),
    row("Groupe Théâtres Réunis", "CUSTOMER", "LARGE_GROUP", "3 place de la Comédie, 69001 Lyon", EOM_45, Habit::Usual),
    row("Galerie Éclats & Ombres", "CUSTOMER", "SME", "27 rue des Orfèvres, 67000 Strasbourg", N30, Habit::Prompt),
    row("Mairie de Saint-Évremont", "CUSTOMER", "PUBLIC", "1 place de la République, 50300 Saint-Évremont", N30, Habit::Slow),
    row("Décors du Midi SARL", "CUSTOMER", "SME", "8 chemin des Oliviers, 13100 Aix-en-Provence", D45_EOM, Habit::Usual),
    row("Brasserie Gaîté-Montclair", "CUSTOMER", "SME", "44 boulevard Gaîté, 33000 Bordeaux", N30, Habit::Usual),
    row("Événements Crépuscule SAS", "CUSTOMER", "NEW_OR_RISKY", "5 impasse du Crépuscule, 59000 Lille", N30, Habit::Broke),
    row("Architectes Noël & Bérard", "CUSTOMER", "SME", "19 quai des Célestins, 69002 Lyon", D30_EOM_10, Habit::Prompt),
    row("Musée des Arts verriers", "CUSTOMER", "PUBLIC", "2 rue du Musée, 54000 Nancy", LEGAL, Habit::Usual),
    row("Ébénisterie Chauvet-Lacoste", "CUSTOMER", "SME", "31 rue du Faubourg, 87000 Limoges", EOM_30, Habit::Usual),
    row("Résidences Côte d'Émeraude", "CUSTOMER", "LARGE_GROUP", "60 digue Sud, 35400 Saint-Malo", N60, Habit::Slow),
    row("Librairie L'Étoile polaire", "CUSTOMER", "SME", "14 rue Nationale, 37000 Tours", N45, Habit::Usual),
    row("Menuiserie Forêt Dorée", "CUSTOMER", "NEW_OR_RISKY", "Zone artisanale des Chênes, 88000 Épinal", N30, Habit::Broke),
    row("Opéra de la Vallée", "CUSTOMER", "PUBLIC", "10 cours de l'Opéra, 38000 Grenoble", N30, Habit::Usual),
    row("Scénographie Hémisphère", "CUSTOMER", "SME", "22 rue des Ateliers, 93100 Montreuil", D45_EOM, Habit::Usual),
    row("Boutiques Fée Clochette SAS", "CUSTOMER", "SME", "7 passage du Nord, 59800 Lille", EOM_45, Habit::Slow),
    row("Château de Valençois", "CUSTOMER", "SME", "Le Château, 36600 Valençois", N45, Habit::Usual),
    row("Traiteur Pêche & Cannelle", "CUSTOMER", "SME", "9 rue des Halles, 21000 Dijon", DECADE_20, Habit::Usual),
    row("Cinémas Le Rêve bleu", "CUSTOMER", "LARGE_GROUP", "100 allée Lumière, 44000 Nantes", EOM_30, Habit::Usual),
    row("Atelier Lumière Belgique", "CUSTOMER", "GROUP_COMPANY", "15 rue du Marché, 59300 Valenciennes", N60, Habit::Prompt),
    row("Clinique Sainte-Cécile", "CUSTOMER", "SME", "48 avenue Pasteur, 64000 Pau", N45, Habit::Usual),
    row("Régie Spectacles Océan", "CUSTOMER", "SME", "6 quai Ouest, 29200 Brest", D30_EOM_10, Habit::Usual),
    row("Université des Deux-Rivières", "CUSTOMER", "PUBLIC", "1 campus Nord, 25000 Besançon", N30, Habit::Slow),
    row("Fleuriste Au Bleuet fané", "CUSTOMER", "NEW_OR_RISKY", "3 rue du Puits, 86000 Poitiers", CASH, Habit::Slow),
    row("Verrerie Gênoise", "CUSTOMER", "SME", "17 route de la Verrerie, 57000 Metz", EOM_45, Habit::Usual),
    row("Lumière Participations", "CUSTOMER", "GROUP_COMPANY", "20 rue du Levant, 75011 Paris", N45, Habit::Prompt),
    row("Auberge du Grand Chêne", "CUSTOMER", "SME", "Route des Crêtes, 68140 Munster", N30, Habit::Usual),
    row("Studio Photo Maëlle", "CUSTOMER", "SME", "11 rue Haute, 34000 Montpellier", N30, Habit::Usual),
    row("Conseil départemental de la Brenne", "CUSTOMER", "PUBLIC", "5 place du Marché, 36000 Châteauroux", N30, Habit::Usual),
    row("Salons Impérial Réception", "CUSTOMER", "SME", "77 avenue Foch, 51100 Reims", D45_EOM, Habit::Slow),
    row("Mme Aurélie Desprès", "CUSTOMER", "CONSUMER", "4 rue des Lilas, 31000 Toulouse", CASH, Habit::Usual),
    row("M. Benoît Lemaître", "CUSTOMER", "CONSUMER", "16 rue de l'Écluse, 45000 Orléans", N30, Habit::Usual),
    row("Mme Zoé Castagné", "CUSTOMER", "CONSUMER", "2 rue Saint-Jean, 14000 Caen", CASH, Habit::Prompt),
    row("Mme Éléonore Vasseur", "MEMBER", "CONSUMER", "21 rue du Moulin, 80000 Amiens", N30, Habit::Prompt),
    row("M. Gaël Quéméneur", "MEMBER", "CONSUMER", "8 venelle du Port, 29000 Quimper", N30, Habit::Usual),
    row("Mme Anaïs Thébault", "MEMBER", "CONSUMER", "30 rue des Écoles, 35000 Rennes", N30, Habit::Usual),
    row("M. Raphaël Dubœuf", "MEMBER", "CONSUMER", "5 montée des Soies, 69004 Lyon", N30, Habit::Slow),
    row("Association Les Réverbères", "MEMBER", "SME", "12 rue du Gaz, 42000 Saint-Étienne", N30, Habit::Usual),
    row("Mlle Léa Hervé", "STUDENT", "CONSUMER", "Résidence Curie, 86000 Poitiers", N30, Habit::Usual),
    row("M. Noé Perrin-Dufaÿ", "STUDENT", "CONSUMER", "3 rue des Bons Enfants, 76000 Rouen", N30, Habit::Usual),
    row("Mlle Chloé Nguyên", "STUDENT", "CONSUMER", "40 avenue des Sciences, 91400 Orsay", N30, Habit::Slow),
    row("M. Loïc Abgrall", "STUDENT", "CONSUMER", "1 rue de la Criée, 56100 Lorient", N30, Habit::Usual),
    row("Mlle Maïwenn Le Goff", "STUDENT", "CONSUMER", "18 rue du Phare, 22700 Perros-Guirec", N30, Habit::Prompt),
    row("Syndicat des Copropriétaires Les Glycines", "OTHER", "SME", "9 rue des Glycines, 06000 Nice", N30, Habit::Usual),
    Row { currency: "USD", ..row("Bright & Finch Interiors Inc.", "CUSTOMER", "LARGE_GROUP", "200 Maple Street, Springfield", N60, Habit::Usual) },
    Row { currency: "GBP", ..row("Lanternhouse Ltd", "CUSTOMER", "SME", "4 Lamp Lane, Oldbridge", N45, Habit::Usual) },
    row("Sous-locataire M. Yvon Bâcle", "OTHER", "CONSUMER", "20 rue du Levant, 75011 Paris", CASH, Habit::Slow),
    row("Fondation Clarté", "OTHER", "PUBLIC", "13 rue du Temple, 84000 Avignon", N30, Habit::Usual),
];

/// How many of [`CLIENTS`] buy often.
pub const CORE: usize = 30;
/// Positions of the clients in other currencies.
pub const ABROAD: &[usize] = &[44, 45];
/// Position of the client in liquidation.
pub const LIQUIDATED: usize = 6;
/// Position of the client in receivership.
pub const IN_RECEIVERSHIP: usize = 12;
/// Positions of insured clients, with the share and the limit of the cover.
pub const INSURED: &[(usize, i64, i64)] = &[
    (0, 90, 60_000),
    (4, 90, 25_000),
    (10, 85, 40_000),
    (15, 80, 10_000),
    (29, 90, 15_000),
];
/// Positions of clients with a provision from before, in euros.
pub const OPENINGS: &[(usize, i64)] = &[
    (LIQUIDATED, 1_800),
    (IN_RECEIVERSHIP, 2_400),
    (15, 650),
    (22, 300),
];

/// What is sold: description, price in cents, VAT in tenths of a percent, account.
pub type Article = (&'static str, i64, i64, &'static str);

/// Sold to professionals.
pub const TRADE: &[Article] = &[
    ("Suspension en verre soufflé", 28_500, 200, "701000"),
    ("Applique laiton brossé", 14_900, 200, "701000"),
    ("Lampadaire Élégie", 64_000, 200, "701000"),
    ("Étude d'éclairage (jour)", 72_000, 200, "706000"),
    ("Pose et raccordement (heure)", 5_800, 100, "706000"),
    ("Restauration de lustre ancien", 118_000, 100, "706000"),
    ("Ampoules LED, lot de 50", 16_250, 200, "707000"),
    ("Catalogue raisonné des luminaires", 4_200, 55, "707000"),
    ("Port et emballage", 3_900, 200, "708500"),
];
/// Sold to students: exempt.
pub const COURSES: &[Article] = &[
    ("Stage de vitrail, module 1", 48_000, 0, "706000"),
    ("Formation éclairagiste, trimestre", 96_000, 0, "706000"),
];
/// Sold to members.
pub const DUES: &[Article] = &[
    ("Cotisation annuelle", 12_000, 0, "706000"),
    ("Revue trimestrielle, abonnement", 5_600, 21, "707000"),
];
/// Charged to others.
pub const RENTS: &[Article] = &[
    ("Loyer de l'atelier annexe", 62_000, 200, "708300"),
    ("Charges locatives", 8_400, 200, "708300"),
];
/// Sold abroad.
pub const EXPORTS: &[Article] = &[
    ("Lampadaire Élégie (export)", 71_000, 0, "701000"),
    ("Suspension en verre soufflé (export)", 31_000, 0, "701000"),
];

/// The contacts' names, taken in turn.
pub const CONTACTS: &[&str] = &[
    "Agnès Pélissier",
    "Jérôme Câlin",
    "Maïté Etchegaray",
    "Cédric Noël",
    "Valérie Hélias",
    "Désiré Bonnefoÿ",
];
