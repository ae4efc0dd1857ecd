"""What the sandbox starts with: three portals, their people and the properties of their contacts."""

import unicodedata
from dataclasses import replace
from itertools import product

from sandbox.accounts import Portal, User
from sandbox.languages import LANGUAGES
from sandbox.properties import Group, Property
from sandbox.times import from_iso

OPENED = from_iso("2025-03-03T09:00:00")

_GROUPS = (
    Group("contactinformation", "Contact information", 0),
    Group("contactlcs", "Contact activity", 1),
    Group("verification", "Verification", 2),
)
_STAGES = [
    ("subscriber", "Subscriber"),
    ("lead", "Lead"),
    ("opportunity", "Opportunity"),
    ("customer", "Customer"),
    ("other", "Other"),
]
_HUBSPOT_PROPERTIES = (
    Property("email", "Email", unique=True),
    Property("firstname", "First name"),
    Property("lastname", "Last name"),
    Property("phone", "Phone number", field_type="phonenumber"),
    Property("mobilephone", "Mobile phone number", field_type="phonenumber"),
    Property("hs_language", "Preferred language", "enumeration", "select", choices=LANGUAGES),
    Property("company", "Company name"),
    Property("city", "City"),
    Property("website", "Website URL"),
    Property("lifecyclestage", "Lifecycle stage", "enumeration", "radio", choices=_STAGES),
    Property("createdate", "Create date", "datetime", "date", read_only_value=True),
    Property("lastmodifieddate", "Last modified date", "datetime", "date", read_only_value=True),
    Property("hs_object_id", "Record ID", "number", "number", read_only_value=True),
    Property("hs_email_domain", "Email domain", group="contactlcs", calculated=True, read_only_value=True),
    Property("hs_analytics_source_data_1", "Original source detail", group="contactlcs", hidden=True),
)
_OWN_PROPERTIES = (
    Property("otp_code", "OTP code", group="verification", description="One-time code, written by an app."),
    Property("submitted_code", "Submitted code", group="verification", description="Filled in by a form."),
    Property("verification_notes", "Verification notes", field_type="textarea", group="verification"),
    Property("verified_at", "Verified at", "datetime", "date", group="verification"),
    Property("loyalty_points", "Loyalty points", "number", "number"),
    Property("membership_status", "Membership status", read_only_value=True, form_field=False),
    Property("member_number", "Member number", unique=True),
    Property("passport_number", "Passport number", sensitivity="sensitive"),
    Property("fax_code", "Fax code", archived=True),
    Property("signature_html", "Signature", field_type="html"),
    Property("contract_file", "Contract", field_type="file"),
)

_FIRST_NAMES = [
    "Ada",
    "Bruno",
    "Chiara",
    "Dmitri",
    "Elif",
    "Farah",
    "Gustav",
    "Hana",
    "Ivo",
    "Jada",
    "Kofi",
    "Lena",
    "Mateo",
    "Noor",
    "Olga",
    "Pedro",
    "Quynh",
    "Rosa",
    "Samir",
    "Tove",
    "Uma",
    "Viktor",
    "Wanda",
    "Ximena",
    "Yusuf",
    "Zoë",
]
_LAST_NAMES = [
    "Almeida",
    "Bianchi",
    "Castillo",
    "Dubois",
    "Eriksen",
    "Fischer",
    "Goldberg",
    "Haddad",
    "Ivanova",
    "Jensen",
    "Kowalski",
    "Laurent",
    "Mbeki",
    "Nakamura",
    "Okafor",
    "Petrov",
    "Quinn",
    "Rossi",
    "Sato",
    "Tanaka",
    "Urban",
    "Vogel",
    "Weber",
    "Xu",
    "Yildiz",
    "Zhang",
]
_CITIES = ("Lisbon", "Boston", "Kraków", "Nairobi", "Osaka", "Lyon", "Montréal", "Tromsø")
_SPOKEN = ("en", "pt-br", "de", "fr", "es", "ja", "ar", "pl", "")
# Every pair of names once, neighbours unlike each other: 29 shares no factor with the 676 pairs.
_NAMES = list(product(_FIRST_NAMES, _LAST_NAMES))


def portals() -> list[Portal]:
    """Return new portals without contacts.

    The second one's subscription has no workflow API: an optional scope ``automation`` is silently dropped there.
    """
    return [
        _portal(51000001, "Aurora Outdoor", "aurora-outdoor.example", "Marketing Hub Professional", "na1",
                "US/Eastern", "USD", owner="Ines Carvalho", colleague="Tom Becker"),
        _portal(52000002, "Brightwater Clinic", "brightwater-clinic.example", "Starter Customer Platform", "eu1",
                "Europe/Berlin", "EUR", owner="Mara Lindqvist", colleague="Jonas Weiss",
                withheld_scopes=frozenset({"automation"})),
        _portal(53000003, "Cobalt Credit Union", "cobalt-cu.example", "Enterprise Customer Platform", "na1",
                "US/Pacific", "USD", owner="Priya Raman", colleague="Leo Fuentes"),
    ]  # fmt: skip


def person(portal: Portal, number: int) -> dict[str, str]:
    """Return the values of the n-th made-up contact of a portal; the address is unique within it."""
    first, last = _NAMES[number * 29 % len(_NAMES)]
    letters = unicodedata.normalize("NFKD", f"{first}.{last}".lower()).encode("ascii", "ignore").decode()
    return {
        "email": f"{letters}.{number}@{portal.domain.partition('-')[0]}.example",
        "firstname": first,
        "lastname": last,
        "city": _CITIES[number % len(_CITIES)],
        "hs_language": _SPOKEN[number % len(_SPOKEN)],
        "lifecyclestage": _STAGES[number % len(_STAGES)][0],
    }


def _portal(
    portal_id: int,
    name: str,
    domain: str,
    subscription: str,
    hublet: str,
    time_zone: str,
    currency: str,
    *,
    owner: str,
    colleague: str,
    withheld_scopes: frozenset[str] = frozenset(),
) -> Portal:
    def user(number: int, full_name: str, *, may_install: bool) -> User:
        address = f"{full_name.partition(' ')[0].lower()}@{domain}"
        return User(portal_id * 10 + number, full_name, address, may_install)

    users = (user(1, owner, may_install=True), user(2, colleague, may_install=False))
    hubspot = (replace(item, hubspot_defined=True, created_at=OPENED) for item in _HUBSPOT_PROPERTIES)
    own = (replace(item, created_at=OPENED, created_by=users[0].id) for item in _OWN_PROPERTIES)
    return Portal(
        id=portal_id,
        name=name,
        domain=domain,
        subscription=subscription,
        hublet=hublet,
        time_zone=time_zone,
        currency=currency,
        users={person.id: person for person in users},
        withheld_scopes=withheld_scopes,
        groups={group.name: group for group in _GROUPS},
        properties={item.name: item for item in (*hubspot, *own)},
    )
