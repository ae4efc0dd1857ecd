"""The options of HubSpot's own contact property "Preferred language" (``hs_language``)."""

_CODES = """
af Afrikaans|sq Albanian|sq-al Albanian - Albania|ar Arabic|ar-dz Arabic - Algeria|ar-bh Arabic - Bahrain
ar-eg Arabic - Egypt|ar-iq Arabic - Iraq|ar-jo Arabic - Jordan|ar-kw Arabic - Kuwait|ar-lb Arabic - Lebanon
ar-ly Arabic - Libya|ar-ma Arabic - Morocco|ar-om Arabic - Oman|ar-qa Arabic - Qatar|ar-sa Arabic - Saudi Arabia
ar-sd Arabic - Sudan|ar-sy Arabic - Syria|ar-tn Arabic - Tunisia|ar-ae Arabic - United Arab Emirates
ar-ye Arabic - Yemen|hy Armenian|as Assamese|az Azerbaijani|eu Basque|be Belarusian|be-by Belarusian - Belarus
bn Bengali|bs Bosnian|bg Bulgarian|bg-bg Bulgarian - Bulgaria|my Burmese|my-mm Burmese - Myanmar (Burma)
ca Catalan|ca-es Catalan - Catalan|ceb Cebuano|zh Chinese|zh-cn Chinese - China|zh-hk Chinese - Hong Kong SAR
zh-mo Chinese - Macau SAR|zh-sg Chinese - Singapore|zh-tw Chinese - Taiwan|zh-chs Chinese (Simplified)
zh-cht Chinese (Traditional)|hr Croatian|hr-hr Croatian - Croatia|cs Czech|cs-cz Czech - Czech Republic|da Danish
da-dk Danish - Denmark|nl Dutch|nl-be Dutch - Belgium|nl-lu Dutch - Luxembourg|nl-nl Dutch - Netherlands
nl-ch Dutch - Switzerland|en English|en-au English - Australia|en-ca English - Canada|en-hk English - Hong Kong
en-in English - India|en-ie English - Ireland|en-my English - Malaysia|en-mt English - Malta
en-nz English - New Zealand|en-ph English - Philippines|en-sg English - Singapore|en-za English - South Africa
en-gb English - United Kingdom|en-us English - United States|en-zw English - Zimbabwe|et Estonian
et-ee Estonian - Estonia|fo Faroese|fa Farsi|fil Filipino|fi Finnish|fi-fi Finnish - Finland|fr French
fr-be French - Belgium|fr-ca French - Canada|fr-fr French - France|fr-lu French - Luxembourg|fr-mc French - Monaco
fr-ch French - Switzerland|gl Galician|ka Georgian|de German|de-at German - Austria|de-de German - Germany
de-gr German - Greece|de-li German - Liechtenstein|de-lu German - Luxembourg|de-ch German - Switzerland|el Greek
el-cy Greek - Cyprus|el-gr Greek - Greece|gu Gujarati|ha Hausa|he Hebrew|he-il Hebrew - Israel|hi Hindi
hi-in Hindi - India|hu Hungarian|hu-hu Hungarian - Hungary|is Icelandic|is-is Icelandic - Iceland|id Indonesian
in-id Indonesian - Indonesia|ga Irish|ga-ie Irish - Ireland|it Italian|it-it Italian - Italy
it-ch Italian - Switzerland|ja Japanese|ja-jp Japanese - Japan|kn Kannada|kk Kazakh|km Khmer|rw Kinyarwanda
ko Korean|ko-kr Korean - South Korea|ky Kyrgyz|lo Lao|lv Latvian|lv-lv Latvian - Latvia|lt Lithuanian
lt-lt Lithuanian - Lithuania|mk Macedonian|mk-mk Macedonian - Macedonia|mg Malagasy|ms Malay|ms-bn Malay - Brunei
ms-my Malay - Malaysia|ml Malayalam|mt Maltese|mt-mt Maltese - Malta|mr Marathi|mn Mongolian|ne Nepali
nb Norwegian Bokmal|no Norwegian|no-no Norwegian - Norway|pl Polish|pl-pl Polish - Poland|pt Portuguese
pt-br Portuguese - Brazil|pt-pt Portuguese - Portugal|pa Punjabi|ro Romanian|ro-ro Romanian - Romania|ru Russian
ru-ru Russian - Russia|sr Serbian|sr-ba Serbian - Bosnia and Herzegovina|sr-me Serbian - Montenegro
sr-rs Serbian - Serbia|si Sinhala|sk Slovak|sk-sk Slovak - Slovakia|sl Slovenian|sl-si Slovenian - Slovenia
so Somali|es Spanish|es-ar Spanish - Argentina|es-bo Spanish - Bolivia|es-cl Spanish - Chile
es-co Spanish - Colombia|es-cr Spanish - Costa Rica|es-cu Spanish - Cuba|es-do Spanish - Dominican Republic
es-ec Spanish - Ecuador|es-sv Spanish - El Salvador|es-gt Spanish - Guatemala|es-hn Spanish - Honduras
es-mx Spanish - Mexico|es-ni Spanish - Nicaragua|es-pa Spanish - Panama|es-py Spanish - Paraguay
es-pe Spanish - Peru|es-pr Spanish - Puerto Rico|es-es Spanish - Spain|es-us Spanish - United States
es-uy Spanish - Uruguay|es-ve Spanish - Venezuela|sw Swahili|sv Swedish|sv-fi Swedish - Finland
sv-se Swedish - Sweden|tl Tagalog|ta Tamil|te Telugu|th Thai|th-th Thai - Thailand|tr Turkish
tr-tr Turkish - Turkey|uk Ukrainian|uk-ua Ukrainian - Ukraine|ur Urdu|uz Uzbek|vi Vietnamese
vi-vn Vietnamese - Vietnam|cy Welsh|xh Xhosa|yo Yoruba|zu Zulu
"""

LANGUAGES: list[tuple[str, str]] = [
    (code, label)
    for line in _CODES.strip().splitlines()
    for code, _, label in (entry.partition(" ") for entry in line.split("|"))
]
