"""A portal's own texts for the mail, per language."""

from django.core.validators import MaxLengthValidator
from django.db import models

from hubspot_integration.models import Portal

TEXT_LIMIT = 2000


class EmailTexts(models.Model):
    """A portal's own texts for the mail in one language, besides the default ones in its settings.

    An empty text is "not written": the app's own in that language takes its place (`emails.languages.choose`).
    """

    portal = models.ForeignKey(Portal, on_delete=models.CASCADE, related_name="email_texts", db_index=False)
    # as `emails.languages.normalise` spells it
    language = models.CharField("Language", max_length=20)
    subject = models.CharField("Email Subject", max_length=150, blank=True)
    greeting = models.CharField("Greeting", max_length=200, blank=True)
    body_text = models.TextField("Body Text", validators=[MaxLengthValidator(TEXT_LIMIT)], blank=True)
    footer_text = models.TextField("Footer Text", validators=[MaxLengthValidator(TEXT_LIMIT)], blank=True)

    class Meta:
        verbose_name = verbose_name_plural = "texts of a language"
        ordering = ("language",)
        constraints = (models.UniqueConstraint(fields=["portal", "language"], name="one_set_of_texts_per_language"),)

    def __str__(self) -> str:
        return f"texts of portal {self.portal_id} in {self.language}"
