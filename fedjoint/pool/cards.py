"""What is registered, for catalogues: Croissant (MLCommons) and DCAT 3 cards, policies as ODRL 2.2, and parties."""

from __future__ import annotations

from datetime import date
from typing import Any

from fedjoint.pool.registered import Registered
from fedjoint.pool.registry import Registry

__all__ = ["croissant_card", "dcat_card", "odrl_policy", "party_card"]


def odrl_policy(registered: Registered) -> dict[str, Any]:
    """The policy as an ODRL offer: train, for a purpose, in a time, with the duty to compensate.

    Source:
        ODRL Information Model 2.2, W3C Recommendation 2018.
    """
    dataset = registered.as_of(date.max)
    constraints: list[dict[str, Any]] = [
        {
            "leftOperand": "purpose",
            "operator": "isAnyOf",
            "rightOperand": list(dataset.policy.purposes),
        },
        _day_limit("gteq", dataset.policy.not_before),
        _day_limit("lteq", dataset.policy.not_after),
    ]
    return {
        "@context": ["http://www.w3.org/ns/odrl.jsonld", {"fedjoint": "urn:fedjoint:"}],
        "@type": "Offer",
        "uid": f"urn:fedjoint:policy:{dataset.id}",
        "permission": [
            {
                "target": f"urn:fedjoint:dataset:{dataset.id}",
                "assigner": f"urn:fedjoint:party:{dataset.holder}",
                "action": "fedjoint:train",
                "constraint": constraints,
                "duty": [{"action": "compensate"}],
            }
        ],
        "prohibition": [{"target": f"urn:fedjoint:dataset:{dataset.id}", "action": "distribute"}],
    }


def _day_limit(operator: str, day: str) -> dict[str, Any]:
    return {"leftOperand": "dateTime", "operator": operator, "rightOperand": {"@value": day, "@type": "xsd:date"}}


def croissant_card(registered: Registered) -> dict[str, Any]:
    """A Croissant card: the records cannot be downloaded, so it has no distribution.

    Source:
        Croissant format specification 1.0, MLCommons 2024.
    """
    dataset = registered.as_of(date.max)
    return {
        "@context": {
            "@language": "en",
            "@vocab": "https://schema.org/",
            "cr": "http://mlcommons.org/croissant/",
            "rai": "http://mlcommons.org/croissant/RAI/",
            "sc": "https://schema.org/",
            "dct": "http://purl.org/dc/terms/",
            "conformsTo": "dct:conformsTo",
        },
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": dataset.id,
        "alternateName": dataset.title,
        "description": dataset.description,
        "creator": {"@type": "sc:Organization", "name": dataset.holder},
        "datePublished": dataset.certificate.announced,
        "expires": dataset.certificate.valid_until,
        "identifier": dataset.certificate.number,
        "isAccessibleForFree": False,
        "usageInfo": f"urn:fedjoint:policy:{dataset.id}",
        "license": f"urn:fedjoint:policy:{dataset.id}",
        "url": f"urn:fedjoint:dataset:{dataset.id}",
        "version": f"1.{len(registered.events)}.0",
        "rai:dataCollection": f"{dataset.num_records} records; source proofs: {', '.join(dataset.source_proofs)}",
        "rai:personalSensitiveInformation": dataset.deidentification,
        "distribution": [],
        "recordSet": [],
    }


def dcat_card(registered: Registered) -> dict[str, Any]:
    """A DCAT 3 card.

    Source:
        Data Catalog Vocabulary 3, W3C Recommendation 2024.
    """
    dataset = registered.as_of(date.max)
    return {
        "@context": {
            "dcat": "http://www.w3.org/ns/dcat#",
            "dct": "http://purl.org/dc/terms/",
            "odrl": "http://www.w3.org/ns/odrl/2/",
            "prov": "http://www.w3.org/ns/prov#",
            "xsd": "http://www.w3.org/2001/XMLSchema#",
        },
        "@id": f"urn:fedjoint:dataset:{dataset.id}",
        "@type": "dcat:Dataset",
        "dct:title": dataset.title,
        "dct:description": dataset.description,
        "dct:identifier": dataset.certificate.number,
        "dct:publisher": {"@id": f"urn:fedjoint:party:{dataset.holder}"},
        "dct:issued": {"@value": dataset.certificate.announced, "@type": "xsd:date"},
        "dct:valid": {"@value": dataset.certificate.valid_until, "@type": "xsd:date"},
        "dct:accessRights": "data stay with the holder; training only, by agreement",
        "odrl:hasPolicy": odrl_policy(registered),
        "prov:wasDerivedFrom": [f"urn:sha256:{proof}" for proof in dataset.source_proofs],
        "dcat:version": f"1.{len(registered.events)}.0",
    }


def party_card(registry: Registry, party: str) -> dict[str, Any]:
    """A party: who it is, its public keys, how long its certificate is valid, and which datasets it holds.

    Raises:
        PoolError: no such party.

    Source:
        The Organization Ontology, W3C Recommendation 2014.
    """
    found = registry.party(party)
    held = sorted(name for name, one in registry.datasets.items() if one.as_of(date.max).holder == party)
    return {
        "@context": {
            "@vocab": "urn:fedjoint:",
            "dct": "http://purl.org/dc/terms/",
            "org": "http://www.w3.org/ns/org#",
            "identifier": "org:identifier",
            "name": "http://www.w3.org/2004/02/skos/core#prefLabel",
        },
        "@id": f"urn:fedjoint:party:{party}",
        "@type": "org:Organization",
        "name": found.identity.name,
        "identifier": found.legal_id,
        "role": found.role,
        "signingKey": found.identity.signing_key,
        "sealingKey": found.identity.sealing_key,
        "certificateSha256": found.certificate_sha256,
        "validFrom": found.valid_from,
        "validUntil": found.valid_until,
        "revokedFrom": registry.revoked.get(party),
        "holds": [f"urn:fedjoint:dataset:{name}" for name in held],
    }
