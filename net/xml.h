/* SPDX-License-Identifier: BSD-2-Clause */
/* What of XML the answers of S3 use: elements and text, no declarations. */
#ifndef TSR_NET_XML_H
#define TSR_NET_XML_H
#include <stddef.h>

/** A start or an end of an element, with the text behind it. */
typedef struct tsri_xml {
    char name[40];          /**< without its namespace, if it has one; longer
                                 names are cut */
    int end;                /**< it is the end */
    char text[2048];        /**< entities decoded, in UTF-8; "" for <a/> */
    int cut;                /**< the text did not fit */
} tsri_xml;

/** Reads the next tag at *at and moves on behind its text.  Returns 1; 0 there is
 *  none; -1 this is not such XML.  Costs O(length); no memory. */
int tsri_xml_next(const char **at, tsri_xml *tag);
#endif
