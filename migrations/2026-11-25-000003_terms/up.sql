-- The ceilings of payment terms are legal values like any other (R0.5, table 6.1): dated, with their source.
ALTER TABLE legal_rates DROP CONSTRAINT legal_rates_kind_check;
ALTER TABLE legal_rates ADD CONSTRAINT legal_rates_kind_check CHECK (kind IN ('ECB_REFINANCING', 'LEGAL_INTEREST_PROFESSIONAL',
  'DEFAULT_PENALTY_MARGIN', 'CONTRACT_FLOOR_MULTIPLE', 'RECOVERY_INDEMNITY', 'PUBLIC_PENALTY_MARGIN',
  'TERMS_NET_MAX', 'TERMS_END_OF_MONTH_MAX', 'TERMS_PERIODIC_MAX', 'TERMS_DEFAULT', 'TERMS_DECADE_MAX', 'TERMS_PUBLIC_MAX'));
ALTER TABLE legal_rates DROP CONSTRAINT legal_rates_unit_check;
ALTER TABLE legal_rates ADD CONSTRAINT legal_rates_unit_check CHECK (unit IN ('PERCENT', 'POINTS', 'TIMES', 'EUR', 'DAYS'));
INSERT INTO legal_rates (kind, valid_from, valid_to, value, unit, source) VALUES
  ('TERMS_NET_MAX', '2009-01-01', NULL, 60, 'DAYS', 'C. com. L441-10 I: 60 jours après la date d''émission de la facture'),
  ('TERMS_END_OF_MONTH_MAX', '2009-01-01', NULL, 45, 'DAYS', 'C. com. L441-10 I: 45 jours fin de mois, les deux modes de calcul'),
  ('TERMS_PERIODIC_MAX', '2009-01-01', NULL, 45, 'DAYS', 'C. com. L441-10 I, CGI 289 I-3: facture périodique, 45 jours après son émission'),
  ('TERMS_DEFAULT', '2009-01-01', NULL, 30, 'DAYS', 'C. com. L441-10 I: délai supplétif, 30 jours après la réception'),
  ('TERMS_DECADE_MAX', '2009-01-01', NULL, 30, 'DAYS', 'C. com. L441-11 II: 30 jours après la fin de la décade de livraison'),
  ('TERMS_PUBLIC_MAX', '2013-05-01', NULL, 30, 'DAYS', 'Commande publique: 30 jours');
